"""Every setting, once: its name, type, default and help.

To add one, add a line here; the starter file, the checks of names and types, the
documentation and `stead config` follow from it.

Annotations are evaluated here, by Python itself: put off (``from __future__ import annotations``),
msgspec would have to evaluate the text of each at every start, which costs a command 10 ms.
"""

from typing import Annotated, Literal

import msgspec

from stead.config.address import LISTEN
from stead.config.egress_settings import CredentialSection, EgressSection, SearchSection
from stead.config.files_settings import FilesSection
from stead.config.hands_settings import BrowserSection, DatabaseSection, PeripheralSection
from stead.config.memory_settings import MemorySection
from stead.config.page_settings import PageSection
from stead.config.permit_settings import ApprovalsSection, PermitSection
from stead.config.push_settings import PushSection
from stead.config.section import Section
from stead.config.section import help_ as _help


class GatewaySection(Section, frozen=True):
    key_file: Annotated[str, _help("Owner's key; empty: secrets/owner.key, made at start")] = ""
    max_body_mb: Annotated[float, _help("Largest request body accepted", gt=0)] = 16.0
    answer_wait_s: Annotated[
        float, _help("How long /v1/chat/completions waits for an answer of the agent", gt=0)
    ] = 570.0
    light_slots: Annotated[int, _help("Light answers the gateway works on at once", ge=0)] = 2
    drain_s: Annotated[
        float, _help("At a stop, answers under way and sends may take so long to end", ge=0)
    ] = 8.0


class NodeSection(Section, frozen=True):
    gateway: Annotated[str, _help("URL of the gateway; empty: the one on this machine")] = ""
    key_file: Annotated[str, _help("This node's key; empty: secrets/node.key")] = ""
    name: Annotated[str, _help("Name of this node; empty: the host's name")] = ""
    labels: Annotated[list[str], _help("What this node can do beyond the ordinary")] = []
    slots: Annotated[int, _help("Jobs at once", ge=1)] = 3
    chat_slots: Annotated[int, _help("Of these, kept free for the owner's chat", ge=0)] = 1
    refused_s: Annotated[
        float, _help("This node ends when its key is refused for so long", ge=0)
    ] = 15.0
    away_after_s: Annotated[float, _help("A node silent for this long counts as away", gt=0)] = 15.0


class QueueLimit(Section, frozen=True):
    """What holds for all jobs of a key together."""

    key: Annotated[
        str, _help("kind:KIND, channel:CHANNEL, or a name that jobs give in their limits")
    ]
    at_once: Annotated[int, _help("Most that run at a time; 0: any", ge=0)] = 0
    starts: Annotated[int, _help("Most that start in per_s seconds; 0: any", ge=0)] = 0
    per_s: Annotated[float, _help("What starts are counted in", gt=0)] = 60.0


class NodesSection(Section, frozen=True):
    main: Annotated[
        str, _help("Name of the node that gets all it can do while it is there; empty: all alike")
    ] = ""
    failover_s: Annotated[
        float, _help("A node silent for so long leaves its jobs to others that can do them", gt=0)
    ] = 300.0


class QueueSection(Section, frozen=True):
    lease_s: Annotated[
        float, _help("A job is taken back when its worker is silent so long", ge=1)
    ] = 30.0
    max_tries: Annotated[int, _help("Failures a job may report before it is dead", ge=1)] = 3
    max_crashes: Annotated[int, _help("Workers a job may take down before it is dead", ge=1)] = 3
    backoff_s: Annotated[float, _help("Wait before the second try; doubles each time", ge=0)] = 2.0
    backoff_max_s: Annotated[float, _help("Longest wait between tries", ge=0)] = 300.0
    age_s: Annotated[
        float, _help("Waiting that counts as much as one step of priority", ge=1, le=1e8)
    ] = 600.0
    limit: Annotated[list[QueueLimit], _help("Limits on what runs at a time and on starts")] = []


class ModelSection(Section, frozen=True):
    main: Annotated[
        str, _help("Model of the agent; auto: the local one that fits this machine")
    ] = "auto"
    light: Annotated[str, _help("Model for light answers in the gateway")] = "auto"
    local: Annotated[
        str, _help("Local model to run: auto, off, scripted, a catalogue name or a .gguf path")
    ] = "auto"
    context: Annotated[int, _help("Context window of the local model, in tokens", ge=512)] = 8192
    threads: Annotated[int, _help("Threads of the local model; 0: all cores", ge=0)] = 0
    wait_s: Annotated[float, _help("How long a call waits for a model that is loading", gt=0)] = (
        1800.0
    )


class BackendModel(Section, frozen=True):
    name: Annotated[str, _help("The model's name at the backend")]
    alias: Annotated[str, _help("Its name in stead; empty: the same")] = ""
    tools: Annotated[Literal["native", "schema", "none"], _help("How it chooses tools")] = "native"
    prompt: Annotated[Literal["full", "small"], _help("Length of the system prompt")] = "full"
    context: Annotated[int, _help("Context window, tokens", ge=512)] = 128_000
    usd_per_mtok_in: Annotated[
        float,
        _help("Price of a million prompt tokens; -1: as listed, free in the house", ge=-1),
    ] = -1.0
    usd_per_mtok_cached: Annotated[
        float, _help("Price of a million prompt tokens read from cache; -1: as prompt", ge=-1)
    ] = -1.0
    usd_per_mtok_cache_write: Annotated[
        float, _help("Price of a million prompt tokens written to cache; -1: as prompt", ge=-1)
    ] = -1.0
    usd_per_mtok_out: Annotated[
        float, _help("Price of a million answer tokens; -1: as listed, else as prompt", ge=-1)
    ] = -1.0
    free: Annotated[bool, _help("It costs nothing, though it is in the cloud")] = False
    vision: Annotated[
        Literal["auto", "yes", "no"], _help("Whether it sees images; auto: let it try")
    ] = "auto"
    where: Annotated[
        Literal["auto", "house", "cloud"], _help("Where it runs; auto: as its backend")
    ] = "auto"
    apis: Annotated[
        list[str], _help("What it can be asked for, such as embeddings; empty: as its backend")
    ] = []


class BackendSection(Section, frozen=True):
    name: Annotated[str, _help("Name of the backend")]
    url: Annotated[
        str, _help("Base URL, ending before /chat/completions (or /messages): mostly with /v1")
    ]
    kind: Annotated[Literal["openai", "anthropic"], _help("Whose API it speaks")] = "openai"
    urls: Annotated[
        list[str], _help("Further instances with the same models; calls are spread over all")
    ] = []
    key_file: Annotated[str, _help("File with its key; relative to the home directory")] = ""
    key_style: Annotated[
        Literal["auto", "bearer", "x-api-key", "none"],
        _help("How the key is shown; auto: x-api-key to Anthropic, else Authorization: Bearer"),
    ] = "auto"
    headers: Annotated[list[str], _help('Sent with every request, as "Name: value"')] = []
    models: list[BackendModel] = []
    prices: Annotated[
        str, _help("Whose prices hold: openai, anthropic, openrouter...; empty: by its address")
    ] = ""
    apis: Annotated[
        list[str],
        _help("What it speaks, such as chat/completions, responses; empty: as its kind does"),
    ] = []
    where: Annotated[
        Literal["auto", "house", "cloud"],
        _help("Whether what is sent there leaves the house; auto: by its address"),
    ] = "auto"
    timeout_s: Annotated[float, _help("Longest silence of the backend while it answers", gt=0)] = (
        300.0
    )
    probe_s: Annotated[
        float,
        _help("How often it is looked at when no call tells how it is; 0: never", ge=0),
    ] = 15.0


class LaneSection(Section, frozen=True):
    """A name that requests give as ``model``, and the models that it stands for."""

    name: Annotated[str, _help("Such as main, light, cron, subagent, review, embed, vision")]
    models: Annotated[
        list[str], _help("Models or lanes: the first that can take a request gets it")
    ]
    weights: Annotated[
        list[float],
        _help("One for each model: shares of the conversations that begin there; empty: the first"),
    ] = []
    paid: Annotated[bool, _help("Whether a paid model may stand in for a free one")] = False
    cloud: Annotated[
        bool, _help("Whether a model in the cloud may stand in for one in the house")
    ] = False
    shadow: Annotated[str, _help("A model that is asked as well; its answer is only recorded")] = ""
    shadow_share: Annotated[
        float, _help("Share of the conversations that the shadow is asked for", ge=0, le=1)
    ] = 1.0


class JudgeSection(Section, frozen=True):
    """Which lane a request belongs to that names none. Every condition given must hold."""

    name: Annotated[str, _help("Shown where it decided")]
    lane: Annotated[str, _help("The lane, or model, that gets the request")]
    models: Annotated[list[str], _help("What requests name as model when they want this")] = (
        msgspec.field(default_factory=lambda: ["auto"])
    )
    apis: Annotated[list[str], _help("Only asked like this, such as messages; empty: any")] = []
    tools: Annotated[Literal["any", "yes", "no"], _help("Whether tools are offered")] = "any"
    images: Annotated[Literal["any", "yes", "no"], _help("Whether it holds images")] = "any"
    min_chars: Annotated[int, _help("At least this long", ge=0)] = 0
    max_chars: Annotated[int, _help("At most this long; 0: any", ge=0)] = 0
    language: Annotated[list[str], _help("Language of its last words, such as de; empty: any")] = []
    keys: Annotated[list[str], _help("Only from these: names of keys, owner, jobs")] = []
    share: Annotated[
        Literal["any", "chat", "background"], _help("Whose share of the money it is")
    ] = "any"


class RouteSection(Section, frozen=True):
    """One routing rule; the first that matches decides. Every condition given must hold."""

    name: Annotated[str, _help("Shown by `stead why`")]
    to: Annotated[Literal["light", "node"], _help("Answer in the gateway, or send to a node")]
    mark: Annotated[str, _help("The sender's own mark: light or heavy")] = ""
    match: Annotated[str, _help("Regular expression searched in the text, case ignored")] = ""
    unless: Annotated[str, _help("Regular expression that must not be found")] = ""
    max_chars: Annotated[int, _help("At most this long; 0: any", ge=0)] = 0
    channel: Annotated[str, _help("Only from this channel")] = ""
    lane: Annotated[str, _help("Only in this lane: chat or background")] = ""
    needs: Annotated[list[str], _help("Labels the node must carry")] = []
    prefer: Annotated[
        list[str], _help("Names of nodes; others get it only when these are silent")
    ] = []
    avoid: Annotated[list[str], _help("Names of nodes that never get it")] = []


class ChannelSection(Section, frozen=True):
    """A way by which messages come in and replies are pushed (docs/channels.md)."""

    kind: Literal["webhook"]
    name: Annotated[str, _help("Its name: messages come in at /channel/NAME")]
    url: Annotated[str, _help("Where replies are posted to; empty: replies wait to be read")] = ""
    secret_file: Annotated[
        str, _help("File with its secret; empty: secrets/NAME.whsec, made at start")
    ] = ""
    session: Annotated[str, _help("Conversation of a message that names none")] = "main"
    origin: Annotated[
        Literal["owner", "foreign"],
        _help("Who writes what comes in: you, or others, whose words are material and no orders"),
    ] = "owner"
    dedupes: Annotated[
        bool, _help("Whether the receiver drops a reply whose Idempotency-Key it has had")
    ] = False
    ambiguous: Annotated[
        Literal["send again", "leave", "ask"],
        _help("What becomes of a reply that may or may not have arrived"),
    ] = "send again"
    timeout_s: Annotated[float, _help("How long the receiver may take to answer", gt=0)] = 30.0
    tries: Annotated[int, _help("A reply that it answers with errors is tried so often", ge=1)] = 20
    at_once: Annotated[int, _help("Conversations sent to at the same time", ge=1)] = 4


class LimitsSection(Section, frozen=True):
    steps: Annotated[int, _help("Model and tool calls in one job", ge=1)] = 20
    tokens: Annotated[int, _help("Tokens in one job", ge=1)] = 200_000
    usd: Annotated[float, _help("Money for one job", ge=0)] = 1.0
    wall_s: Annotated[float, _help("Seconds from the first start of a job", gt=0)] = 1800.0
    answer_tokens: Annotated[int, _help("Tokens one model call may write", ge=16)] = 1024


class RuleSection(Section, frozen=True):
    """A rule of the house. Every condition given must hold; all rules that hold apply."""

    name: Annotated[str, _help("Shown in reasons, refusals and `stead calls`")]
    then: Annotated[
        Literal["block", "redact", "local", "limit"],
        _help("Refuse, black out what is found, keep it in the house, or only limit it"),
    ]
    keys: Annotated[list[str], _help("Of these: names of keys, owner, jobs; empty: all")] = []
    unless_keys: Annotated[list[str], _help("Not of these")] = []
    lanes: Annotated[list[str], _help("In these lanes, named or judged; empty: all")] = []
    models: Annotated[list[str], _help("For these names of models, as requests give them")] = []
    endpoints: Annotated[
        list[str], _help("At these paths below /v1/, such as chat/completions; empty: all")
    ] = []
    hours: Annotated[str, _help("At this time of day (local), such as 22:00-06:30")] = ""
    days: Annotated[list[str], _help("On these days: mon to sun, on which the hours begin")] = []
    images: Annotated[bool, _help("Only what holds images")] = False
    finds: Annotated[
        list[str],
        _help("What detectors look for: secrets, passwords, personal, or single kinds of these"),
    ] = []
    words: Annotated[list[str], _help("Your own list: words or names, whatever their case")] = []
    words_file: Annotated[
        str, _help("A file with more of them, one a line; relative to the home directory")
    ] = ""
    patterns: Annotated[list[str], _help("Your own list: regular expressions")] = []
    requests_per_min: Annotated[int, _help("Requests a minute; 0: any", ge=0)] = 0
    tokens_per_min: Annotated[int, _help("Tokens a minute; 0: any", ge=0)] = 0
    at_once: Annotated[int, _help("Requests at once; 0: any", ge=0)] = 0
    max_body_kb: Annotated[int, _help("Largest request; 0: any", ge=0)] = 0
    keep_bodies: Annotated[bool, _help("Whether its texts may be kept for the audit")] = True
    why: Annotated[str, _help("Told to who is refused")] = ""


class BudgetLimit(Section, frozen=True):
    """Money for one lane or one key; -1 is no limit."""

    lane: Annotated[str, _help("The lane")] = ""
    key: Annotated[str, _help("Or the name of the key")] = ""
    daily_usd: Annotated[float, _help("Money in a day (UTC); -1: no limit", ge=-1)] = -1.0
    monthly_usd: Annotated[float, _help("Money in a month (UTC); -1: no limit", ge=-1)] = -1.0
    stop: Annotated[bool, _help("false: you are told, and nothing is stopped")] = True


class BudgetSection(Section, frozen=True):
    daily_usd: Annotated[float, _help("Money for model calls in a day (UTC)", ge=0)] = 5.0
    monthly_usd: Annotated[float, _help("Money in a month (UTC); -1: no limit", ge=-1)] = -1.0
    chat_reserve_usd: Annotated[
        float, _help("Part of it that only your own chat may touch", ge=0)
    ] = 1.0
    warn_at: Annotated[
        float, _help("You are told when so much of a budget is used", gt=0, le=1)
    ] = 0.8
    unpriced: Annotated[
        Literal["block", "count"],
        _help("A cloud model whose price is not known: refuse it, or count it at unpriced_usd"),
    ] = "block"
    unpriced_usd: Annotated[float, _help("What a million tokens are counted at then", ge=0)] = 20.0
    prices_file: Annotated[
        str, _help("Prices newer than those that came along (`stead prices update` makes it)")
    ] = "prices.json"
    limit: Annotated[list[BudgetLimit], _help("Budgets of single lanes and keys")] = []


class AuditRule(Section, frozen=True):
    """Whose bodies are kept; the first rule that fits decides."""

    keep: Annotated[Literal["none", "errors", "all"], _help("What is kept of these calls")]
    key: Annotated[str, _help("Only of this caller: owner, job or the name of a key")] = ""
    lane: Annotated[str, _help("Only in this lane")] = ""


class AuditSection(Section, frozen=True):
    """What is kept, beside its row, of what was said in a model call (docs/inference.md)."""

    keep: Annotated[
        Literal["none", "errors", "all"],
        _help("Bodies of which calls are kept, where no rule says otherwise"),
    ] = "none"
    days: Annotated[float, _help("They are kept so long; 0: for ever", ge=0)] = 14.0
    max_mb: Annotated[float, _help("All together; beyond it the oldest go", gt=0)] = 500.0
    max_kb: Annotated[float, _help("Of one body so much is kept", gt=0)] = 1000.0
    redact: Annotated[
        bool,
        _help("Black out secrets, and the words and patterns of all rules, before they are kept"),
    ] = True
    finds: Annotated[
        list[str], _help("Further kinds that are blacked out, as finds of a rule has them")
    ] = []
    rule: Annotated[list[AuditRule], _help("Own rules by key and lane")] = []


class MetricsSection(Section, frozen=True):
    open_here: Annotated[
        bool, _help("Programs on this machine may read /metrics without a key")
    ] = False


class LogSection(Section, frozen=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    max_mb: Annotated[float, _help("A log file is turned over at this size", gt=0)] = 20.0
    keep: Annotated[int, _help("Old log files kept", ge=0)] = 5


class RetentionSection(Section, frozen=True):
    jobs_days: Annotated[
        float, _help("Detail of jobs that are done or cancelled is kept so long; 0: for ever", ge=0)
    ] = 30.0
    dead_days: Annotated[
        float, _help("Detail of jobs that could not be done is kept so long; 0: for ever", ge=0)
    ] = 90.0
    calls_days: Annotated[
        float,
        _help("Single model calls are kept so long, then their sums a day; 0: for ever", ge=0),
    ] = 400.0
    max_mb: Annotated[
        float,
        _help(
            "With a larger database the oldest finished jobs go before their time; 0: never", ge=0
        ),
    ] = 4000.0
    every_h: Annotated[float, _help("How often the rules are applied", gt=0)] = 24.0


class UndoSection(Section, frozen=True):
    """What files held before tools changed them."""

    keep_days: Annotated[float, _help("Changes of files can be undone for so long", ge=0)] = 30.0
    max_mb: Annotated[float, _help("Of what they held so much is kept; the oldest goes", gt=0)] = (
        2000.0
    )
    max_file_mb: Annotated[
        float, _help("A larger file is not kept, so tools may not change it", gt=0)
    ] = 500.0


class ServicesSection(Section, frozen=True):
    """The light services (docs/inference.md): each a process that runs while it is used."""

    off: Annotated[
        list[str], _help("Services never started: embed, transcription, speech, ocr, vad")
    ] = []
    idle_s: Annotated[
        float, _help("One that nobody asks anything for so long is ended; 0: never", ge=0)
    ] = 300.0
    start_s: Annotated[float, _help("How long one may take to be ready", gt=0)] = 60.0
    request_s: Annotated[float, _help("How long one may work on a request", gt=0)] = 300.0
    memory_mb: Annotated[int, _help("Memory one may use; beyond it is ended", ge=100)] = 2000
    threads: Annotated[int, _help("Threads one computes with; 0: all cores, up to 8", ge=0)] = 0
    ocr: Annotated[
        Literal["auto", "tesseract", "rapidocr"],
        _help("What reads pictures; auto: tesseract where it is installed"),
    ] = "auto"
    whisper: Annotated[
        str, _help("base, or the folder of a faster-whisper model; empty: Moonshine, English only")
    ] = ""
    voice: Annotated[
        str, _help("Voice of speech: heart, or a language such as de (espeak-ng); empty: heart")
    ] = ""


class SandboxSection(Section, frozen=True):
    """What tools with effects run in (docs/sandboxes.md)."""

    kind: Annotated[
        Literal["auto", "bubblewrap", "podman", "seatbelt", "none"],
        _help("auto: what this machine has; none: no tool that changes things may run"),
    ] = "auto"
    image: Annotated[
        str, _help("Image for podman, which must be there already (`podman pull`)")
    ] = ""


class Settings(Section, frozen=True):
    listen: Annotated[str, _help("Address and port of the gateway")] = LISTEN
    offline: Annotated[bool, _help("Never touch the network beyond this machine")] = False
    gateway: GatewaySection = GatewaySection()
    page: PageSection = PageSection()
    node: NodeSection = NodeSection()
    nodes: NodesSection = NodesSection()
    queue: QueueSection = QueueSection()
    model: ModelSection = ModelSection()
    backend: list[BackendSection] = []
    lane: Annotated[list[LaneSection], _help("Names for models, in the order of trying")] = []
    judge: Annotated[
        list[JudgeSection], _help("Which lane takes what names no model of its own")
    ] = []
    route: Annotated[list[RouteSection], _help("Own rules, tried before the built-in ones")] = []
    channel: list[ChannelSection] = []
    rule: Annotated[list[RuleSection], _help("What may be asked, and what never leaves")] = []
    permit: Annotated[list[PermitSection], _help("What tools may do, and what never")] = []
    approvals: ApprovalsSection = ApprovalsSection()
    egress: EgressSection = EgressSection()
    credential: Annotated[
        list[CredentialSection], _help("Keys that tools use without ever seeing them")
    ] = []
    search: SearchSection = SearchSection()
    database: Annotated[list[DatabaseSection], _help("Databases that tools may ask")] = []
    peripheral: Annotated[list[PeripheralSection], _help("Machines that tools may work on")] = []
    browser: BrowserSection = BrowserSection()
    push: PushSection = PushSection()
    services: ServicesSection = ServicesSection()
    memory: MemorySection = MemorySection()
    files: FilesSection = FilesSection()
    limits: LimitsSection = LimitsSection()
    budget: BudgetSection = BudgetSection()
    retention: RetentionSection = RetentionSection()
    undo: UndoSection = UndoSection()
    sandbox: SandboxSection = SandboxSection()
    audit: AuditSection = AuditSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
