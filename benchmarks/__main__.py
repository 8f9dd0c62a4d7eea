"""Run all benchmarks in sequence: `python -m benchmarks`."""

import sys

from benchmarks import analysis, forwarding, moving, receive, sdk_cost, whole


def main() -> None:
    for title, run in (
        ("What stamping costs an application", sdk_cost.main),
        ("The receive path, with a store that costs nothing", receive.main),
        ("Forwarding, beside other agents", forwarding.main),
        ("The whole path, 10 M spans", whole.main),
        ("The analysis of versions, 10 M spans", analysis.main),
        ("Export and import", moving.main),
    ):
        print(f"\n== {title}\n", flush=True)
        run()


if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    main()
