"""The platform's SQL, written once: standard SQL as DuckDB reads it, told to Synapse in its own words; Spark is next.

It may use what all three have: WITH, CASE, window functions with their whole OVER clause, CAST, `%`. It may not use
what one of them lacks: QUALIFY, FILTER, WINDOW, GROUP BY ALL, arg_min, LIMIT, lists, or `/` of whole numbers, which
DuckDB divides into fractions and Synapse does not, but where it comes out even. SUM adds up whole numbers; to add up
others, write SUM(CAST(x AS DOUBLE)), which is left as it is. Values are parameters, written `:name`.
One function is the platform's own: FINGERPRINT(a, b) is the same for the same two texts, and seldom for others. It may
be selected by a name, grouped by, and equal to a column of such a name.
"""

from collections.abc import Mapping

import sqlglot
from sqlglot import exp

READ = "duckdb"


def to_tsql(statement: str, names: Mapping[str, str]) -> str:
    """A statement for Synapse; ``names``: what to write, in brackets where need be, for each table."""
    tree = sqlglot.parse_one(statement, read=READ)
    if not isinstance(tree, exp.Query):
        _inline_common_tables(tree)
    rename_tables(tree, names)
    _count_wide(tree)
    _write_fingerprints_out(tree)
    for ordered in tree.find_all(exp.Ordered):  # nothing is ordered by what may be null, so nulls need no place
        ordered.set("nulls_first", not ordered.args.get("desc"))
    return tree.sql(dialect="tsql", comments=False, identify=True)  # any name may be a word of T-SQL


def _inline_common_tables(tree: exp.Expr) -> None:
    # Synapse takes WITH before SELECT alone, not within INSERT or CREATE TABLE AS.
    for clause in list(tree.find_all(exp.With)):
        query = clause.parent
        assert query is not None
        clause.pop()
        for position, common in enumerate(clause.expressions):
            for later in [query, *clause.expressions[position + 1 :]]:
                _put_in_place(later, common)


def _put_in_place(query: exp.Expr, common: exp.CTE) -> None:
    for table in list(query.find_all(exp.Table)):
        if table.name == common.alias and not table.db:
            alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name))
            table.replace(exp.Subquery(this=common.this.copy(), alias=alias))


def _write_fingerprints_out(tree: exp.Expr) -> None:
    """Both texts instead of one made of them: what is spread by the first is then grouped and joined where it lies."""
    for call in list(tree.find_all(exp.Anonymous)):
        if call.name.upper() != "FINGERPRINT":
            continue
        both, place = call.expressions, call.parent
        if isinstance(place, exp.Alias) and isinstance(place.parent, exp.Select):
            named = [exp.alias_(text, f"{place.alias}_{number}") for number, text in enumerate(both, start=1)]
            place.parent.set("expressions", _in_place_of(place, named))
        elif isinstance(place, exp.Group):
            place.set("expressions", _in_place_of(call, both))
        elif isinstance(place, exp.EQ):
            other = place.this if place.expression is call else place.expression
            columns = [exp.column(f"{other.name}_{number}", other.text("table")) for number in (1, 2)]
            pairs = [exp.EQ(this=column, expression=text) for column, text in zip(columns, both, strict=True)]
            place.replace(exp.and_(*pairs))
        else:
            raise ValueError(f"FINGERPRINT is selected, grouped by or compared, not as in {place}")


def _in_place_of(one: exp.Expr, several: list[exp.Expr]) -> list[exp.Expr]:
    assert one.parent is not None
    return [new for old in one.parent.expressions for new in (several if old is one else [old])]


def rename_tables(tree: exp.Expr, names: Mapping[str, str]) -> None:
    """Call the tables that have no schema by their own names, wherever they stand, in whatever case.

    ``names`` are in lower case. What a WITH calls so is left: after it, the name means its query.
    """
    for table in list(tree.find_all(exp.Table)):
        asked = table.name.lower()
        if table.db or asked not in names or asked in _common_names(table):
            continue
        name = names[asked]
        temporary = exp.Table(this=exp.to_identifier(name, quoted=True))
        renamed = temporary if name.startswith("#") else exp.to_table(name, dialect="tsql")
        if isinstance(table.parent, exp.From | exp.Join) and not table.alias:
            table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name)))
        for part in ("this", "db"):  # and no more: PIVOT and hints are parts of a table too
            table.set(part, renamed.args.get(part))


def _common_names(place: exp.Expr) -> set[str]:
    """What WITH clauses that reach a place call their queries: within one, those before."""
    found: set[str] = set()
    inner, outer = place, place.parent
    while outer is not None:
        if isinstance(outer, exp.With):
            found |= {common.alias.lower() for common in outer.expressions[: inner.index]}
        elif isinstance(outer, exp.Query) and not isinstance(inner, exp.With):
            found |= {common.alias.lower() for common in outer.ctes}
        inner, outer = outer, outer.parent
    return found


def _count_wide(tree: exp.Expr) -> None:
    # COUNT and SUM of Synapse end at two billion where their argument is an int. A CAST says how wide a sum shall be.
    for count in tree.find_all(exp.Count):
        count.set("big_int", True)
    for total in tree.find_all(exp.Sum):
        if not isinstance(total.this, exp.Cast):
            total.set("this", exp.cast(total.this.copy(), "BIGINT"))
