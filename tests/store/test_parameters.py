"""Parameters that are bound at once."""

from otel_vtrack.store.parameters import Plain


def test_plain_text_is_bound_as_any_other(store):
    ids = [f"{number:032x}" for number in range(300)]
    asked = {"ids": Plain.joined(ids)}
    assert store.select("SELECT splitByChar(',', {ids:String}) AS ids", asked) == [{"ids": ids}]
