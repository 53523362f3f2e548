"""What the simulated desktop is made of: names that a trading floor would recognise."""

from dataclasses import dataclass

FAMILIES: dict[str, tuple[str, ...]] = {
    "market_data": (
        "quotes", "watchlist", "depth_of_book", "time_and_sales", "option_chain", "fx_matrix", "yield_curves",
        "commodity_board",
    ),
    "charts": (
        "charts", "chart_studio", "heat_map", "correlation_matrix", "seasonality", "technical_scanner",
        "volatility_surface",
    ),
    "trading": (
        "order_ticket", "basket_ticket", "algo_ticket", "order_blotter", "trade_blotter", "rfq_pad", "allocations",
        "trade_confirmations",
    ),
    "portfolio_risk": (
        "portfolio", "positions", "profit_and_loss", "risk_monitor", "exposure_map", "attribution",
        "scenario_analysis", "margin_monitor",
    ),
    "news": (
        "news", "headlines", "news_search", "sentiment", "economic_calendar", "earnings_calendar", "transcripts",
    ),
    "research": (
        "research", "company_profile", "financials", "estimates", "peer_comparison", "ownership", "screener",
        "answers",
    ),
    "collaboration": (
        "chat", "contacts", "mail", "alerts", "shared_notes", "meeting_rooms", "voice_line",
    ),
    "operations": (
        "settlement", "compliance_check", "reference_data", "report_builder", "spreadsheet_link", "data_export",
        "help_center",
    ),
}  # fmt: skip
MINI_APPS: tuple[str, ...] = tuple(app for apps in FAMILIES.values() for app in apps)
FAMILY_OF: dict[str, str] = {app: family for family, apps in FAMILIES.items() for app in apps}

ASSET_CLASSES = ("equity", "fixed_income", "fx", "commodity")
# Mini-apps at home in one asset class: used more there, hardly elsewhere.
CLASS_OF_APP = {
    "option_chain": "equity", "volatility_surface": "equity", "company_profile": "equity", "estimates": "equity",
    "yield_curves": "fixed_income", "rfq_pad": "fixed_income", "fx_matrix": "fx", "heat_map": "fx",
    "commodity_board": "commodity", "seasonality": "commodity",
}  # fmt: skip
INSTRUMENTS_PER_CLASS = 100
INSTRUMENT_PREFIX = {"equity": "EQ", "fixed_income": "BD", "fx": "FX", "commodity": "CM"}

DESKS = {
    "cash_equities": "equity", "equity_derivatives": "equity", "government_bonds": "fixed_income",
    "credit": "fixed_income", "spot_fx": "fx", "energy": "commodity", "metals": "commodity",
}  # fmt: skip
REGION_OF_EXCHANGE = {"XNYS": "americas", "XNAS": "americas", "XTSE": "americas", "BVMF": "americas"}
ASIAN = ("XTKS", "XHKG", "XSES", "XASX", "XKRX", "XSHG", "XBOM")
FIRM_WORDS = (
    ("Aldgate", "Beacon", "Cedar", "Dover", "Elm Street", "Fairway", "Granite", "Harbour", "Ivory", "Juniper"),
    ("Capital", "Securities", "Asset Management", "Partners"),
)


@dataclass(frozen=True)
class Persona:
    """A way of working: families by how much they are used, and the pace of it."""

    name: str
    role: str
    share: float
    families: dict[str, float]
    user_sessions_per_day: float
    events_per_user_session: float
    revisit: float  # chance of going back to the mini-app before the last
    repeat: float  # chance of a further action in the same mini-app
    pace: float  # dwell times are multiplied by it


PERSONAS = (
    Persona("execution_trader", "trader", 0.22, {"trading": 9, "market_data": 5}, 2.6, 30, 0.22, 0.20, 0.6),
    Persona("portfolio_manager", "manager", 0.16, {"portfolio_risk": 9, "research": 3}, 1.8, 24, 0.10, 0.14, 1.2),
    Persona("research_analyst", "analyst", 0.14, {"research": 10, "news": 4}, 1.6, 28, 0.06, 0.10, 1.6),
    Persona("chartist", "trader", 0.12, {"charts": 11, "market_data": 4}, 2.2, 26, 0.16, 0.24, 1.0),
    Persona("sales_trader", "sales", 0.12, {"collaboration": 10, "market_data": 3}, 2.4, 22, 0.26, 0.12, 0.8),
    Persona("news_watcher", "strategist", 0.10, {"news": 11, "market_data": 2}, 2.0, 20, 0.04, 0.16, 1.1),
    Persona("risk_officer", "risk", 0.08, {"portfolio_risk": 8, "operations": 5}, 1.4, 26, 0.12, 0.08, 1.5),
    Persona("operations_clerk", "operations", 0.06, {"operations": 11, "trading": 3}, 1.6, 24, 0.18, 0.18, 1.0),
)

# Who uses what on a day: a Bayesian network over the tools below. Each has a base rate, and what each parent adds to
# its log-odds when that parent is used too.
DAILY_NETWORK: dict[str, tuple[float, dict[str, float]]] = {
    "economic_calendar": (0.25, {}),
    "earnings_calendar": (0.28, {}),
    "allocations": (0.30, {}),
    "transcripts": (0.10, {"earnings_calendar": 2.2}),
    "screener": (0.15, {"earnings_calendar": 1.6}),
    "scenario_analysis": (0.12, {"economic_calendar": 2.0}),
    "margin_monitor": (0.10, {"scenario_analysis": 1.8}),
    "settlement": (0.12, {"allocations": 2.4}),
    "compliance_check": (0.08, {"allocations": 1.4, "settlement": 1.6}),
    "spreadsheet_link": (0.14, {"screener": 1.8}),
    "report_builder": (0.08, {"margin_monitor": 1.7, "spreadsheet_link": 1.5}),
    "data_export": (0.06, {"report_builder": 2.0, "spreadsheet_link": 1.3}),
}
ADOPTED = "answers"  # launched when the story begins, and taken up over weeks
CHURNED = "voice_line"  # given up by one user after another
TOOLS: tuple[str, ...] = (*DAILY_NETWORK, ADOPTED, CHURNED)  # opened as errands, outside the walk between mini-apps
WALKED: tuple[str, ...] = tuple(app for app in MINI_APPS if app not in TOOLS)


@dataclass(frozen=True)
class LeadLag:
    """When more users start in one mini-app, more start in another some minutes later."""

    leader: str
    follower: str
    minutes: int


LEAD_LAGS = (
    LeadLag("headlines", "quotes", 3),
    LeadLag("alerts", "order_ticket", 2),
    LeadLag("research", "ownership", 6),
    LeadLag("sentiment", "heat_map", 5),
    LeadLag("chat", "rfq_pad", 4),
)
