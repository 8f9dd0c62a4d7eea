"""Group the clauses that must hold for the same span or the same event."""

from otel_vtrack.query.filter.syntax import And, Clause, Exists, Expression, Not, Or


def gathered(tree: Expression, what: str, entities: frozenset[str]) -> Expression:
    """Turn clauses on `entities` that are joined by AND or OR into one `exists`.

    They then hold for the same span, as in MLflow. NOT before such clauses means that no span
    satisfies them.
    """
    if _pure(tree, what, entities):
        return Exists(what, tree, _place(tree))
    match tree:
        case Not(inside):
            return Not(gathered(inside, what, entities))
        case And(parts):
            pure = [part for part in _flat(parts) if _pure(part, what, entities)]
            rest = [part for part in _flat(parts) if not _pure(part, what, entities)]
            together = [Exists(what, And(tuple(pure)), _place(pure[0]))] if pure else []
            return And((*(gathered(part, what, entities) for part in rest), *together))
        case Or(parts):
            return Or(tuple(gathered(part, what, entities) for part in parts))
        case _:
            return tree


def _flat(parts: tuple[Expression, ...]) -> list[Expression]:
    return [
        each for part in parts for each in (_flat(part.parts) if isinstance(part, And) else [part])
    ]


def _pure(tree: Expression, what: str, entities: frozenset[str]) -> bool:
    match tree:
        case Clause(name):
            return name.entity in entities
        case And(parts) | Or(parts):
            return bool(parts) and all(_pure(part, what, entities) for part in parts)
        case Exists(inner, _, _):
            # An event belongs to the span that the neighbouring clauses describe.
            return inner == "event" and what == "span"
        case Not():
            return False


def _place(tree: Expression) -> int:
    match tree:
        case Clause(name):
            return name.at
        case Exists(_, _, at):
            return at
        case Not(inside):
            return _place(inside)
        case And(parts) | Or(parts):
            return _place(parts[0]) if parts else 0
