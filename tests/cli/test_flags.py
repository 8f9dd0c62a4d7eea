import json


def test_flags_are_listed_compared_and_their_changes_told(run, send):
    for number, version in enumerate(("1", "2")):
        send(
            *(
                {
                    "trace": 1 + 400 * number + n,
                    "at": 60_000 * (400 * number + n),
                    "ms": 100 + n % 7 + 50 * (number and n % 2),
                    "attributes": {
                        "vtrack.flag.search": "on" if n % 2 else "off",
                        "documents": n % 7 + 3 * (n % 2),
                    },
                }
                for n in range(400)
            ),
            service__version=version,
            deployment__environment__name="production",
        )
    listed = run("flags", "list", "--version", "2").stdout
    assert "search" in listed
    assert "50 %" in listed
    compared = run("flags", "compare", "search", "2", "--metric", "latency")
    assert "where search = on, 2 is slower than where it is off: 103 ms -> 153 ms" in (
        compared.stdout
    ), compared.output
    assert "400 traces of 2 saw the flag, 0 did not." in compared.stdout
    # Neither more documents nor fewer are better.
    documents = run("flags", "compare", "search", "2", "--metric", "attribute:documents")
    assert "attribute documents of 2 is higher than where it is off: 3" in documents.stdout, (
        documents.output
    )
    split = run("flags", "interactions", "1", "2", "--limit", "1").stdout
    assert "2 is slower than 1 where search = on" in split
    assert "1 more (--limit)" in split
    exposed = run("flags", "exposure", "search", "--width", "400m").stdout
    assert "50.0 %" in exposed
    assert "No flag changed (1 flag checked)." in run("flags", "changes").stdout
    # Switched on for everyone, in the version that was there.
    send(
        *(
            {
                "trace": 1000 + n,
                "at": 60_000 * (800 + n),
                "attributes": {"vtrack.flag.search": "on"},
            }
            for n in range(200)
        ),
        service__version="2",
        deployment__environment__name="production",
    )
    changed = run("flags", "changes").stdout
    assert "search changed in shop in production at" in changed
    assert "without a deployment: " in changed
    [answer] = json.loads(run("flags", "changes", "--metric", "latency", "--json").stdout)[
        "changes"
    ]
    assert answer["kind"] == "FLAG_CHANGE_KIND_VARIANTS"
    assert run("flags", "changes", "--at", "1h", "--version", "2").exit_code == 2
    assert run("flags", "compare", "search", "9").exit_code == 1
    assert "No matching trace" in run("flags", "list", "--flag", "none").stdout
