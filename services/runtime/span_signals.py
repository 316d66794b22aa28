"""Every span of the services, declared. Pure data.

The span of a call is named after its method. Inside it are those of `SPANS` and, for each call that a service makes in
turn, one of `CALLS`; of the spans right below another one, each begins where the one before it ended, but for those
that say otherwise and for calls, so that they add up to it.
"""

from typing import Final

from services.runtime.signal_kinds import EVERY, WITH_NETWORKS, Attribute, C, D, G, Owner, Span

RPC: Final = "RPC"
"""Stands for the span of a call that a service answers."""

RPC_ATTRIBUTES: Final = (
    Attribute("rpc.system", "grpc"),
    Attribute("rpc.service", "full name of the service, e.g. hemaserve.v1.SmearService"),
    Attribute("rpc.method", "name of the method"),
    Attribute("rpc.grpc.status_code", "number of the status that the call ended with"),
)
"""What the spans of calls carry, on the side that calls and on the side that answers."""

FIELD: Final = "field"
REQUEST: Final = "request"
ATTEMPT: Final = "attempt"
LOOK: Final = "look"

SPANS: Final = (
    Span(
        FIELD,
        "One field of a smear, until its result is there; several at a time.",
        (G,),
        (RPC,),
        stage=False,
    ),
    Span(
        REQUEST,
        "One request of a stream, until its answer is there; several at a time.",
        (G, C),
        (RPC,),
        stage=False,
    ),
    Span("read", "The request is checked; crops in it become pixels.", (G, C), (RPC, REQUEST)),
    Span("queue", "Waits for its turn in the service.", EVERY, (RPC, FIELD, REQUEST)),
    Span(
        ATTEMPT,
        "A field's way through detector and classifier. Made again when a replica is lost; two at a time when hedged.",
        (G,),
        (RPC, FIELD),
        stage=False,
        attributes=(Attribute("hemaserve.image_size", "small, medium or large, see the label"),),
    ),
    Span("models", "Looks up how the classifier wants its crops.", (G,), (ATTEMPT, REQUEST, RPC)),
    Span("detect", "Waits for the detector, until it knows all of the field's cells.", (G,), (ATTEMPT, RPC)),
    Span(
        "classify", "From there on: crops go to the classifier, answers come.", (G,), (ATTEMPT, REQUEST, RPC)
    ),
    Span(
        "screen", "The leukemia screen looks at the field as a whole, beside all else.", (G,), ("classify",)
    ),
    Span("cut", "Cells that the caller has located are cut out of their images.", (G,), (REQUEST, RPC)),
    Span("explain", "What in a crop speaks for a type is worked out.", (G, C), (RPC,)),
    Span("assemble", "The answer is put together.", (G, C), (RPC, FIELD, REQUEST)),
    Span("decode", "The field's file becomes pixels.", WITH_NETWORKS, (RPC,)),
    Span(
        LOOK,
        "Pieces of the field are shown to a network, several batches at a time.",
        (D,),
        (RPC,),
        stage=False,
    ),
    Span("tile", "Pieces of the field are scaled to the network's size.", (D,), (LOOK,)),
    Span("infer", "A network answers.", WITH_NETWORKS, (LOOK, REQUEST, RPC)),
    Span("turn", "Waits until there is room in Triton.", WITH_NETWORKS, ("infer",)),
    Span("nms", "Answers become boxes, and several boxes of one object become one.", (D,), (LOOK, RPC)),
    Span("crops", "Cells are cut out, a message's worth at a time.", (D,), (RPC,)),
    Span("measure", "Focus and stain of the field are measured, after all else.", (D,), (RPC,)),
    Span("vote", "Probabilities become what is said of each cell.", (C,), (REQUEST, RPC)),
)
"""Spans inside those of calls."""

TRITON_CALL: Final = "inference.GRPCInferenceService/ModelInfer"
TRITON_ATTRIBUTES: Final = (
    Attribute("hemaserve.model", "name of the network in Triton"),
    Attribute("hemaserve.rows", "pieces or crops in the request"),
)
"""What the spans of calls of Triton carry besides."""


def stages_of(owner: Owner) -> tuple[str, ...]:
    """Names of a service's stages."""
    return tuple(span.name for span in SPANS if span.stage and owner in span.owners)
