"""Runs the public interoperability cases with the Python client (the C core).

Prints one JSON object: case -> "ok" or what went wrong.
Usage: python3 interop_client.py <host:port> <folder of the generated testing_pb2.py>
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

sys.path.insert(0, sys.argv[2])
import testing_pb2 as pb  # noqa: E402

LARGE_REQUEST = 271828
LARGE_RESPONSE = 314159
REQUEST_SIZES = [27182, 8, 1828, 45904]
RESPONSE_SIZES = [31415, 9, 2653, 58979]
INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")
GZIP = grpc.Compression.Gzip
TIMEOUT = 20

channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.enable_http_proxy", 0)])


def stub(kind, name, request, response, service="TestService"):
    return getattr(channel, kind)(
        f"/grpc.testing.{service}/{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString)


empty_call = stub("unary_unary", "EmptyCall", pb.Empty, pb.Empty)
unary_call = stub("unary_unary", "UnaryCall", pb.SimpleRequest, pb.SimpleResponse)
output_call = stub("unary_stream", "StreamingOutputCall", pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse)
input_call = stub("stream_unary", "StreamingInputCall", pb.StreamingInputCallRequest, pb.StreamingInputCallResponse)
duplex_call = stub("stream_stream", "FullDuplexCall", pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse)


def zeros(size):
    return pb.Payload(body=bytes(size))


def check_zeros(size, payload):
    assert payload.body == bytes(size), len(payload.body)


def code_of(run):
    try:
        run()
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def large_request(**more):
    return pb.SimpleRequest(response_size=LARGE_RESPONSE, payload=zeros(LARGE_REQUEST), **more)


def large_unary():
    check_zeros(LARGE_RESPONSE, unary_call(large_request(), timeout=TIMEOUT).payload)


def client_compressed_unary():
    # The Python client compresses whole calls, so "this message" is "the message of this call".
    wants = lambda value: large_request(expect_compressed=pb.BoolValue(value=value))
    assert code_of(lambda: unary_call(wants(True), timeout=TIMEOUT))[0] == grpc.StatusCode.INVALID_ARGUMENT
    check_zeros(LARGE_RESPONSE, unary_call(wants(True), compression=GZIP, timeout=TIMEOUT).payload)
    check_zeros(LARGE_RESPONSE, unary_call(wants(False), timeout=TIMEOUT).payload)


def client_compressed_streaming():
    wants = lambda value, size: pb.StreamingInputCallRequest(expect_compressed=pb.BoolValue(value=value), payload=zeros(size))
    probe = lambda: input_call(iter([wants(True, REQUEST_SIZES[0])]), timeout=TIMEOUT)
    assert code_of(probe)[0] == grpc.StatusCode.INVALID_ARGUMENT
    packed = input_call(iter([wants(True, REQUEST_SIZES[0])] * 2), compression=GZIP, timeout=TIMEOUT)
    plain = input_call(iter([wants(False, REQUEST_SIZES[3])]), timeout=TIMEOUT)
    assert packed.aggregated_payload_size == 2 * REQUEST_SIZES[0]
    assert plain.aggregated_payload_size == REQUEST_SIZES[3]


def server_compressed_unary():
    for value in (True, False):
        request = large_request(response_compressed=pb.BoolValue(value=value))
        check_zeros(LARGE_RESPONSE, unary_call(request, timeout=TIMEOUT).payload)


def server_compressed_streaming():
    request = pb.StreamingOutputCallRequest(response_parameters=[
        pb.ResponseParameters(compressed=pb.BoolValue(value=True), size=RESPONSE_SIZES[0]),
        pb.ResponseParameters(compressed=pb.BoolValue(value=False), size=92653)])
    responses = list(output_call(request, timeout=TIMEOUT))
    assert len(responses) == 2
    check_zeros(RESPONSE_SIZES[0], responses[0].payload)
    check_zeros(92653, responses[1].payload)


def client_streaming():
    requests = (pb.StreamingInputCallRequest(payload=zeros(size)) for size in REQUEST_SIZES)
    assert input_call(requests, timeout=TIMEOUT).aggregated_payload_size == 74922


def output_request(response_size, request_size):
    return pb.StreamingOutputCallRequest(
        response_parameters=[pb.ResponseParameters(size=response_size)], payload=zeros(request_size))


def server_streaming():
    request = pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(size=size) for size in RESPONSE_SIZES])
    responses = list(output_call(request, timeout=TIMEOUT))
    assert len(responses) == len(RESPONSE_SIZES)
    for size, response in zip(RESPONSE_SIZES, responses):
        check_zeros(size, response.payload)


def ping_pong():
    # One request leaves only after the answer to the one before it.
    answered = []

    def requests():
        for i, sizes in enumerate(zip(RESPONSE_SIZES, REQUEST_SIZES)):
            assert len(answered) == i
            yield output_request(*sizes)
            turns[i].wait(TIMEOUT)

    import threading
    turns = [threading.Event() for _ in RESPONSE_SIZES]
    for i, response in enumerate(duplex_call(requests(), timeout=TIMEOUT)):
        check_zeros(RESPONSE_SIZES[i], response.payload)
        answered.append(response)
        turns[i].set()
    assert len(answered) == len(RESPONSE_SIZES)


def empty_stream():
    assert not list(duplex_call(iter([]), timeout=TIMEOUT))


def custom_metadata():
    def check(call):
        assert INITIAL in [tuple(entry) for entry in call.initial_metadata()]
        assert TRAILING in [tuple(entry) for entry in call.trailing_metadata()]

    _, call = unary_call.with_call(large_request(), metadata=(INITIAL, TRAILING), timeout=TIMEOUT)
    check(call)
    call = duplex_call(iter([output_request(LARGE_RESPONSE, LARGE_REQUEST)]), metadata=(INITIAL, TRAILING), timeout=TIMEOUT)
    assert len(list(call)) == 1
    check(call)


def status(message):
    wanted = pb.EchoStatus(code=2, message=message)
    expected = (grpc.StatusCode.UNKNOWN, message)
    assert code_of(lambda: unary_call(pb.SimpleRequest(response_status=wanted), timeout=TIMEOUT)) == expected
    requests = [pb.StreamingOutputCallRequest(response_status=wanted)]
    assert code_of(lambda: list(duplex_call(iter(requests), timeout=TIMEOUT))) == expected


def unimplemented(service):
    call = stub("unary_unary", "UnimplementedCall", pb.Empty, pb.Empty, service)
    assert code_of(lambda: call(pb.Empty(), timeout=TIMEOUT))[0] == grpc.StatusCode.UNIMPLEMENTED


def cancel_after_begin():
    import threading
    hold = threading.Event()

    def requests():
        hold.wait(TIMEOUT)
        yield from ()

    call = input_call.future(requests(), timeout=TIMEOUT)
    call.cancel()
    hold.set()
    assert call.cancelled() and call.code() == grpc.StatusCode.CANCELLED


def cancel_after_first_response():
    import threading
    hold = threading.Event()

    def requests():
        yield output_request(RESPONSE_SIZES[0], REQUEST_SIZES[0])
        hold.wait(TIMEOUT)

    call = duplex_call(requests(), timeout=TIMEOUT)
    next(call)
    call.cancel()
    hold.set()
    assert code_of(lambda: next(call))[0] == grpc.StatusCode.CANCELLED


def timeout_on_sleeping_server():
    import threading
    hold = threading.Event()

    def requests():
        yield pb.StreamingOutputCallRequest(payload=zeros(REQUEST_SIZES[0]))
        hold.wait(TIMEOUT)

    code, _ = code_of(lambda: next(duplex_call(requests(), timeout=0.001)))
    hold.set()
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED, code


def concurrent_large_unary():
    with ThreadPoolExecutor(20) as pool:
        for done in [pool.submit(large_unary) for _ in range(50)]:
            done.result()


def rpc_soak():
    for _ in range(200):
        large_unary()


CASES = {
    "empty_unary": lambda: empty_call(pb.Empty(), timeout=TIMEOUT),
    "large_unary": large_unary,
    "client_compressed_unary": client_compressed_unary,
    "client_compressed_streaming": client_compressed_streaming,
    "server_compressed_unary": server_compressed_unary,
    "server_compressed_streaming": server_compressed_streaming,
    "client_streaming": client_streaming,
    "server_streaming": server_streaming,
    "ping_pong": ping_pong,
    "empty_stream": empty_stream,
    "custom_metadata": custom_metadata,
    "status_code_and_message": lambda: status("test status message"),
    "special_status_message": lambda: status("\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"),
    "unimplemented_method": lambda: unimplemented("TestService"),
    "unimplemented_service": lambda: unimplemented("UnimplementedService"),
    "cancel_after_begin": cancel_after_begin,
    "cancel_after_first_response": cancel_after_first_response,
    "timeout_on_sleeping_server": timeout_on_sleeping_server,
    "concurrent_large_unary": concurrent_large_unary,
    "rpc_soak": rpc_soak,
}


def run(case):
    try:
        case()
        return "ok"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


print(json.dumps({name: run(case) for name, case in CASES.items()}))
