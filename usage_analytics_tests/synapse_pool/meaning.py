"""Where T-SQL means another thing than DuckDB by the same words: statements rewritten for DuckDB to do what they say.

Not rewritten, for the types of columns are not known here: the types of AVG and SUM (their values are those of T-SQL),
and that DATEADD of a date is a date.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from sqlglot import exp

WHOLE = {"INT": "int", "INTEGER": "int", "BIGINT": "bigint", "SMALLINT": "smallint"}
# Bytes of UTF-16, of which a character beyond the first 65,536 takes four.
DATALENGTH = (
    "CREATE MACRO main.datalength(x) AS "
    "2 * (length(x) + length(regexp_replace(x, '[^\\x{10000}-\\x{10FFFF}]', '', 'g')))"
)
MACROS = "; ".join(
    [
        DATALENGTH,
        *(
            f"CREATE MACRO main.to_{name}(x) AS CASE "
            f"WHEN abs(CAST(CAST(x AS {name}) AS DOUBLE)) > abs(TRY_CAST(x AS DOUBLE)) "
            f"THEN CAST(x AS {name}) - CAST(sign(CAST(x AS {name})) AS {name}) ELSE CAST(x AS {name}) END"
            for name in ("int", "bigint", "smallint")
        ),
    ]
)
OVERFLOW = "Arithmetic overflow error converting expression to data type int."
NOW = ("SYSUTCDATETIME", "GETUTCDATE", "SYSDATETIME", "GETDATE")
TEXTS_OF = (exp.DPipe, exp.Concat, exp.Substring, exp.Upper, exp.Lower, exp.Trim, exp.National, exp.Left)


def as_t_sql_means(tree: exp.Expr) -> exp.Expr:
    """The statement, changed: counts, texts, casts, the time, joins in UPDATE and DELETE."""
    _count_short(tree)
    _keep_ints(tree)
    _join_texts(tree)
    _change_by_joins(tree)
    for change in CHANGES:
        tree = tree.transform(change)
    return tree


def _count_short(tree: exp.Expr) -> None:
    """COUNT is an int, and COUNT_BIG a bigint."""
    for count in list(tree.find_all(exp.Count)):
        if not count.args.get("big_int"):
            outer = count.parent if isinstance(count.parent, exp.Window) else count
            outer.replace(exp.cast(outer.copy(), "INT"))


def _keep_ints(tree: exp.Expr) -> None:
    """SUM of an int is an int and may be too small for it; AVG of whole numbers is a whole number."""
    for node in list(tree.find_all(exp.Sum, exp.Avg)):
        whole = node.parent if isinstance(node.parent, exp.Window) else node
        if isinstance(node.this, exp.Cast | exp.Distinct):
            continue  # it is as wide as it says
        least: exp.Expr = exp.Min(this=node.this.copy())
        if whole is not node:
            least = whole.copy()
            least.set("this", exp.Min(this=node.this.copy()))
        kind = exp.func("typeof", least)
        if isinstance(node, exp.Avg):
            kept = exp.case().when(kind.isin("INTEGER", "BIGINT"), exp.func("trunc", whole.copy()))
        else:
            too_large = exp.func("abs", whole.copy()) > exp.Literal.number(2**31 - 1)
            kept = exp.case().when(
                exp.and_(kind.eq("INTEGER"), too_large), exp.func("error", exp.Literal.string(OVERFLOW))
            )
        whole.replace(kept.else_(whole.copy()))


def _join_texts(tree: exp.Expr) -> None:
    """`+` joins texts where one side is known to be one."""
    for plus in reversed(list(tree.find_all(exp.Add))):
        if _is_text(plus.this) or _is_text(plus.expression):
            plus.replace(exp.DPipe(this=plus.this.copy(), expression=plus.expression.copy()))


def _is_text(node: exp.Expr | None) -> bool:
    if isinstance(node, exp.Paren):
        return _is_text(node.this)
    if isinstance(node, exp.Literal):
        return bool(node.is_string)
    if isinstance(node, exp.Cast):
        return bool(node.to.is_type(*exp.DataType.TEXT_TYPES))
    return isinstance(node, TEXTS_OF)


def _change_by_joins(tree: exp.Expr) -> None:
    """UPDATE and DELETE name an alias of their FROM in T-SQL; in DuckDB they name a table, and joins are conditions."""
    source = tree.args.get("from_") or tree.args.get("from")
    if isinstance(tree, exp.Update) and source is not None and source.this.args.get("joins"):
        own, others, conditions = _parted(source.this, tree.this.name)
        tree.set("this", own)
        source.set("this", others[0])
        for other in others[1:]:
            source.this.append("joins", exp.Join(this=other))
        tree.where(*conditions, copy=False)
    if isinstance(tree, exp.Delete) and tree.args.get("tables"):
        own, others, conditions = _parted(tree.this, tree.args["tables"][0].name)
        tree.set("tables", None)
        tree.set("this", own)
        tree.set("using", others or None)
        tree.where(*conditions, copy=False)


def _parted(joined: exp.Expr, alias: str) -> tuple[exp.Expr, list[exp.Expr], list[exp.Expr]]:
    """Of inner joins: the table with an alias, the others, and what joins them."""
    joins = joined.args.get("joins") or []
    joined.set("joins", None)
    tables = [joined.copy(), *(join.this.copy() for join in joins)]
    own = next(table for table in tables if table.alias_or_name.lower() == alias.lower())
    conditions = [join.args["on"].copy() for join in joins if join.args.get("on")]
    return own, [table for table in tables if table is not own], conditions


def _cut_text(node: exp.Expr) -> exp.Expr:
    """CAST to a text of so many characters cuts it there, which DuckDB does not."""
    if not isinstance(node, exp.Cast) or not node.to.is_type(*exp.DataType.TEXT_TYPES):
        return node
    sizes = node.to.expressions
    whole = exp.cast(node.this, "TEXT")
    if isinstance(node, exp.TryCast) or not sizes or not sizes[0].name.isdecimal():
        return whole
    return exp.Left(this=whole, expression=exp.Literal.number(sizes[0].name))


def _cut_fraction(node: exp.Expr) -> exp.Expr:
    """CAST to a whole number cuts the fraction off, where DuckDB rounds: by macros that the pool has for it."""
    if not isinstance(node, exp.Cast) or isinstance(node, exp.TryCast) or _is_whole(node.this):
        return node
    name = node.to.sql(dialect="duckdb").upper()
    return exp.func(f"to_{WHOLE[name]}", node.this) if name in WHOLE else node


def _is_whole(node: exp.Expr) -> bool:
    if isinstance(node, exp.Window):
        return isinstance(node.this, exp.Count)
    return isinstance(node, exp.Count | exp.Placeholder | exp.Null) or (isinstance(node, exp.Literal) and node.is_int)


def _truth(node: exp.Expr) -> exp.Expr:
    """A bit is true or false."""
    return exp.DataType.build("BOOLEAN") if isinstance(node, exp.DataType) and node.is_type("BIT") else node


def _wide_float(node: exp.Expr) -> exp.Expr:
    """A float has 53 bits, where DuckDB's has 24; sqlglot reads a real as one too, which nobody here asks for."""
    return exp.DataType.build("DOUBLE") if isinstance(node, exp.DataType) and node.is_type("FLOAT") else node


def _now(node: exp.Expr) -> exp.Expr:
    """The time without a zone, in UTC as on a pool."""
    if isinstance(node, exp.CurrentTimestamp) or (isinstance(node, exp.Anonymous) and node.name.upper() in NOW):
        return exp.cast(exp.Literal.string(datetime.now(UTC).replace(tzinfo=None).isoformat(" ")), "TIMESTAMP")
    return node


CHANGES: tuple[Callable[[exp.Expr], exp.Expr], ...] = (_cut_text, _cut_fraction, _truth, _wide_float, _now)
