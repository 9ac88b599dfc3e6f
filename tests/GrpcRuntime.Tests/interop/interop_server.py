"""Serves the public interoperability cases with the Python server (the C core).

Prints its port and runs until its standard input ends.
Usage: python3 interop_server.py <folder of the generated testing_pb2.py>
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

sys.path.insert(0, sys.argv[1])
import testing_pb2 as pb  # noqa: E402

ECHO_INITIAL = "x-grpc-test-echo-initial"
ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"
CODES = {code.value[0]: code for code in grpc.StatusCode}


def zeros(size):
    return pb.Payload(body=bytes(size))


def echo_metadata(context):
    for key, value in context.invocation_metadata():
        if key == ECHO_INITIAL:
            context.send_initial_metadata(((key, value),))
        elif key == ECHO_TRAILING:
            context.set_trailing_metadata(((key, value),))


def end_if_asked(request, context):
    if request.HasField("response_status"):
        context.abort(CODES[request.response_status.code], request.response_status.message)


def empty_call(request, context):
    return pb.Empty()


def unary_call(request, context):
    end_if_asked(request, context)
    if request.response_compressed.value:
        context.set_compression(grpc.Compression.Gzip)
    echo_metadata(context)
    return pb.SimpleResponse(payload=zeros(request.response_size))


def answers(request, context):
    for parameters in request.response_parameters:
        if parameters.HasField("compressed") and not parameters.compressed.value:
            context.disable_next_message_compression()
        yield pb.StreamingOutputCallResponse(payload=zeros(parameters.size))


def output_call(request, context):
    if any(parameters.compressed.value for parameters in request.response_parameters):
        context.set_compression(grpc.Compression.Gzip)
    echo_metadata(context)
    yield from answers(request, context)


def input_call(requests, context):
    return pb.StreamingInputCallResponse(aggregated_payload_size=sum(len(request.payload.body) for request in requests))


def duplex_call(requests, context):
    echo_metadata(context)
    for request in requests:
        end_if_asked(request, context)
        yield from answers(request, context)


def handler(kind, behavior, request):
    return getattr(grpc, f"{kind}_rpc_method_handler")(
        behavior, request_deserializer=request.FromString, response_serializer=lambda message: message.SerializeToString())


server = grpc.server(ThreadPoolExecutor(32))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.testing.TestService", {
    "EmptyCall": handler("unary_unary", empty_call, pb.Empty),
    "UnaryCall": handler("unary_unary", unary_call, pb.SimpleRequest),
    "StreamingOutputCall": handler("unary_stream", output_call, pb.StreamingOutputCallRequest),
    "StreamingInputCall": handler("stream_unary", input_call, pb.StreamingInputCallRequest),
    "FullDuplexCall": handler("stream_stream", duplex_call, pb.StreamingOutputCallRequest),
}),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)
