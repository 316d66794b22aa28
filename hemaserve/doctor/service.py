"""A gateway, and what is behind it, asked as any client asks."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from typing import Final

from hemaserve.cells import Kind, primary_of
from hemaserve.client import (
    Client,
    HemaServeError,
    InvalidArgumentError,
    LocatedCell,
    PermissionDeniedError,
    QuotaLeft,
    UnauthenticatedError,
)
from hemaserve.doctor.findings import Check, Finding, note, skipped, well, wrong
from hemaserve.results import FieldResult
from hemaserve.synthetic import SyntheticField, encode_png, generate_field

SEED: Final = 1
WHITE_CELLS: Final = 4
LEAST_IOU: Final = 0.4
"""From this overlap on a detection and a drawn cell are the same."""

TIMES: Final = 3
"""How often the field is analysed: the quickest counts, for the first one may wake what slept."""

WITHIN_S: Final = 0.5
"""What 95% of small fields are promised to take."""

LARGE_BYTES: Final = 8 * 2**20
"""A large photograph; twice gRPC's default limit of a message."""

LITTLE_LEFT: Final = 0.1


async def examine_health(client: Client) -> Finding:
    """What the gateway says of itself."""
    try:
        state = await client.health()
    except HemaServeError as error:
        return wrong(
            Check.HEALTH,
            f"no HemaServe answers: {error}",
            "Clients get no answer either.",
            "See what is said of the way to it above; else whether it is a gateway's address.",
        )
    if not state.serving:
        return wrong(
            Check.HEALTH,
            "the gateway says that it is not serving",
            "Load balancers send it no calls; most calls would fail.",
            "It says so while the detector or the classifier does not serve, or while it stops: see below which.",
        )
    return well(Check.HEALTH, "the gateway is serving, and says so of what is behind it")


def examine_version(theirs: str) -> Finding:
    """Whether gateway and client are of one version.

    Args:
        theirs: what the gateway's answers say.
    """
    ours = version("hemaserve")
    if theirs == ours:
        return well(Check.VERSION, f"gateway and client are version {ours}")
    return note(
        Check.VERSION,
        f"the gateway is version {theirs}, this client {ours}",
        "They understand each other, but what the newer one knows more the older one cannot tell or show; and networks "
        "are compared with those of the client's version.",
        "Bring the older one to the newer one's version.",
    )


def denied(check: Check, error: HemaServeError) -> Finding | None:
    """What it means that a call was refused for who calls; None where that is not why."""
    if isinstance(error, UnauthenticatedError):
        return wrong(
            Check.ACCESS,
            "the gateway does not know who calls",
            "It answers nobody whom it does not know.",
            "Give a key that is good: --api-key-file FILE or HEMASERVE_API_KEY; hemaserve keys list says which are, "
            "and the gateway's audit log why this one is not.",
        )
    if isinstance(error, PermissionDeniedError):
        return skipped(check, "whoever calls here may not do this; a key with the role analyze may")
    return None


async def examine_parts(client: Client, field: SyntheticField) -> AsyncIterator[Finding]:
    """Whether the detector and the classifier answer, each asked through the gateway."""
    image = encode_png(field.image)
    cell = next(cell for cell in field.cells if cell.kind is Kind.WBC)

    async def detect() -> str:
        found = await client.detect_cells(image)
        return f"the detector {found.provenance.detector.name if found.provenance.detector else ''} answers"

    async def classify() -> str:
        (named,) = await client.classify_cells([LocatedCell(image, box=cell.box)])
        if named.error is not None:
            raise HemaServeError(named.error)
        source = named.provenance.classifier
        return f"the classifier {source.name if source else ''} answers"

    for check, ask in ((Check.DETECTOR, detect), (Check.CLASSIFIER, classify)):
        try:
            # A resuming stream would try for minutes.
            async with asyncio.timeout(10.0):
                yield well(check, await ask())
        except (HemaServeError, TimeoutError) as error:
            said = str(error) or "no answer in time"
            refused = denied(check, error) if isinstance(error, HemaServeError) else None
            yield refused or wrong(
                check,
                f"the {check.value} does not answer through the gateway: {said}",
                "No field can be analysed.",
                f"See whether the {check.value} runs, whether the gateway has its address and may connect to it "
                "(network policy, certificates), and whether Triton is there with its network.",
            )


async def examine_answer(client: Client, field: SyntheticField, *, within_s: float) -> AsyncIterator[Finding]:
    """Whether a field whose cells are known is answered right, and in time."""
    image, seconds = encode_png(field.image), []
    try:
        for _ in range(TIMES):
            began = time.monotonic()
            result = await client.analyze_field(image)
            seconds.append(time.monotonic() - began)
    except HemaServeError as error:
        yield denied(Check.ANSWER, error) or wrong(
            Check.ANSWER,
            f"a field could not be analysed: {error}",
            "So it goes with clients' fields.",
            "See above which part does not answer; the gateway's log has the details.",
        )
        return
    yield examine_version(result.provenance.software_version)
    yield judge_answer(result, field)
    yield judge_time(min(seconds), within_s)


def judge_answer(result: FieldResult, field: SyntheticField) -> Finding:
    """How an answer compares with what was drawn."""
    drawn = [cell for cell in field.cells if cell.kind is Kind.WBC]
    detected = list(result.cells)
    found = named = right = 0
    for cell in drawn:
        match = max(detected, key=lambda candidate: candidate.box.iou(cell.box), default=None)
        if match is None or match.box.iou(cell.box) < LEAST_IOU:
            continue
        found += 1
        detected.remove(match)
        said = match.classification
        if match.identified and said is not None and cell.cell_type is not None:
            named += 1
            right += said.primary_type is primary_of(cell.cell_type)
    what = (
        f"of a generated field {found} of {len(drawn)} white cells are found, and {right} of {named} identified ones "
        "are named right"
    )
    if found < len(drawn) or right < named:
        return wrong(
            Check.ANSWER,
            what,
            "The committed networks find and name all of them: other networks answer, or something alters the pixels.",
            "Compare the networks' digests above; then analyse a field of yours whose differential you know.",
        )
    return well(Check.ANSWER, what)


def judge_time(seconds: float, within_s: float) -> Finding:
    """Whether an answer came in the time that most are promised to take."""
    what = f"the quickest of {TIMES} answers took {seconds:.2f} s; promised are {within_s:g} s"
    if seconds > within_s:
        return note(
            Check.TIME,
            what,
            "If it is so without load, it is worse with it.",
            "See whether the stack is busy; then docs/operating.md, on how many processors it takes.",
        )
    return well(Check.TIME, what)


async def examine_limits(client: Client) -> Finding:
    """Whether large photographs come through to the gateway, and back comes what is wrong with this one."""
    try:
        await client.detect_cells(b"not an image" + bytes(LARGE_BYTES))
    except InvalidArgumentError:
        return well(Check.LIMITS, f"messages of {LARGE_BYTES // 2**20} MiB come through")
    except HemaServeError as error:
        return denied(Check.LIMITS, error) or wrong(
            Check.LIMITS,
            f"a message of {LARGE_BYTES // 2**20} MiB does not come through: {error}",
            "Photographs of that size are refused.",
            "Raise max_image_bytes and max_message_bytes of gateway and detector, and the limit of a proxy in between.",
        )
    return wrong(
        Check.LIMITS,
        "what is no image was analysed",
        "An answer about nothing is worse than none.",
        "See what answers at this address.",
    )


def judge_quota(quota: Sequence[QuotaLeft]) -> Finding:
    """What is left of the caller's quota."""
    if not quota:
        return well(Check.QUOTA, "whoever calls here has no quota")
    told = ", ".join(f"{part.left} of {part.of} {part.unit}" for part in quota)
    if any(part.left < LITTLE_LEFT * part.of for part in quota):
        return note(
            Check.QUOTA,
            f"little is left of this minute's quota: {told}",
            "Calls beyond it are refused until there is more.",
            "Send less, or raise it in the access file: it is read again when it changes.",
        )
    return well(Check.QUOTA, f"left of this minute's quota: {told}")


def known_field() -> SyntheticField:
    """A field whose cells are known, and which the committed networks answer right."""
    return generate_field(SEED, white_cells=WHITE_CELLS)
