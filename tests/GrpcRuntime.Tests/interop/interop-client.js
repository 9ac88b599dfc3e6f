// Runs the public interoperability cases with the JavaScript client and prints one JSON object: case -> "ok" or what went wrong.
// Usage: node interop-client.js <host:port> <path of testing.proto>; modules are found through NODE_PATH.
'use strict';

const assert = require('node:assert');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const GZIP = 2; // in the client's list of algorithms
const NO_COMPRESS = 2; // write flag
const CASE_LIMIT_MS = 20000;
const LARGE_REQUEST = 271828;
const LARGE_RESPONSE = 314159;
const REQUEST_SIZES = [27182, 8, 1828, 45904];
const RESPONSE_SIZES = [31415, 9, 2653, 58979];

const [target, protoPath] = process.argv.slice(2);
const { testing } = grpc.loadPackageDefinition(loader.loadSync(protoPath, { keepCase: true, longs: Number, defaults: true })).grpc;
const client = new testing.TestService(target, grpc.credentials.createInsecure());
const packing = new testing.TestService(target, grpc.credentials.createInsecure(), { 'grpc.default_compression_algorithm': GZIP });
const unknown = new testing.UnimplementedService(target, grpc.credentials.createInsecure());

const zeros = (bytes) => ({ body: Buffer.alloc(bytes) });
const isZeros = (bytes, payload) => assert.ok(payload.body.length === bytes && payload.body.every((byte) => byte === 0));

// A call that fails ends with its status and no response.
const unary = (stub, method, request, metadata = new grpc.Metadata(), options = {}) =>
  new Promise((resolve) => {
    const seen = {};
    const call = stub[method](request, metadata, options, (_, response) => { seen.response = response; });
    call.on('metadata', (headers) => { seen.headers = headers; });
    call.on('status', (status) => {
      seen.status = status;
      setImmediate(() => resolve(seen));
    });
  });

const collect = (call) =>
  new Promise((resolve) => {
    const seen = { messages: [] };
    call.on('metadata', (headers) => { seen.headers = headers; });
    call.on('data', (message) => seen.messages.push(message));
    call.on('error', () => {});
    call.on('status', (status) => {
      seen.status = status;
      setImmediate(() => resolve(seen));
    });
  });

// The generated stubs cannot leave one message of a compressing channel uncompressed; the call below them can.
const withFlags = (method, sends) =>
  new Promise((resolve) => {
    const definition = testing.TestService.service[method];
    const call = packing.getChannel().createCall(definition.path, Infinity, null, null, undefined);
    const seen = {};
    call.start(new grpc.Metadata(), {
      onReceiveMetadata: () => call.startRead(),
      onReceiveMessage: (message) => { seen.response = definition.responseDeserialize(message); call.startRead(); },
      onReceiveStatus: (status) => { seen.status = status; resolve(seen); },
    });
    const next = (i) => {
      if (i === sends.length) {
        call.halfClose();
        return;
      }

      const { message, flags } = sends[i];
      call.sendMessageWithContext({ flags, callback: () => next(i + 1) }, definition.requestSerialize(message));
    };
    next(0);
  });

const largeRequest = (more = {}) => ({ response_size: LARGE_RESPONSE, payload: zeros(LARGE_REQUEST), ...more });

const largeUnary = async () => {
  const { status, response } = await unary(client, 'UnaryCall', largeRequest());
  assert.strictEqual(status.code, 0);
  isZeros(LARGE_RESPONSE, response.payload);
};

const statusCase = async (message) => {
  const response_status = { code: 2, message };
  const single = await unary(client, 'UnaryCall', { response_status });
  assert.deepStrictEqual([single.status.code, single.status.details], [2, message]);
  const call = client.FullDuplexCall();
  const ended = collect(call);
  call.write({ response_status });
  call.end();
  const { status } = await ended;
  assert.deepStrictEqual([status.code, status.details], [2, message]);
};

const cases = {
  empty_unary: async () => {
    const { status, response } = await unary(client, 'EmptyCall', {});
    assert.strictEqual(status.code, 0);
    assert.deepStrictEqual(response, {});
  },
  large_unary: largeUnary,
  client_compressed_unary: async () => {
    const request = (value) => largeRequest({ expect_compressed: { value } });
    const probe = await withFlags('UnaryCall', [{ message: request(true), flags: NO_COMPRESS }]);
    assert.strictEqual(probe.status.code, grpc.status.INVALID_ARGUMENT);
    for (const [value, flags] of [[true, 0], [false, NO_COMPRESS]]) {
      const { status, response } = await withFlags('UnaryCall', [{ message: request(value), flags }]);
      assert.strictEqual(status.code, 0, status.details);
      isZeros(LARGE_RESPONSE, response.payload);
    }
  },
  client_compressed_streaming: async () => {
    const packed = { expect_compressed: { value: true }, payload: zeros(REQUEST_SIZES[0]) };
    const plain = { expect_compressed: { value: false }, payload: zeros(REQUEST_SIZES[3]) };
    const probe = await withFlags('StreamingInputCall', [{ message: packed, flags: NO_COMPRESS }]);
    assert.strictEqual(probe.status.code, grpc.status.INVALID_ARGUMENT);
    const { status, response } = await withFlags('StreamingInputCall', [{ message: packed, flags: 0 }, { message: plain, flags: NO_COMPRESS }]);
    assert.strictEqual(status.code, 0, status.details);
    assert.strictEqual(response.aggregated_payload_size, REQUEST_SIZES[0] + REQUEST_SIZES[3]);
  },
  server_compressed_unary: async () => {
    for (const value of [true, false]) {
      const { status, response } = await unary(client, 'UnaryCall', largeRequest({ response_compressed: { value } }));
      assert.strictEqual(status.code, 0, status.details);
      isZeros(LARGE_RESPONSE, response.payload);
    }
  },
  server_compressed_streaming: async () => {
    const response_parameters = [{ compressed: { value: true }, size: RESPONSE_SIZES[0] }, { compressed: { value: false }, size: 92653 }];
    const { status, messages } = await collect(client.StreamingOutputCall({ response_parameters }));
    assert.strictEqual(status.code, 0, status.details);
    assert.strictEqual(messages.length, 2);
    isZeros(RESPONSE_SIZES[0], messages[0].payload);
    isZeros(92653, messages[1].payload);
  },
  client_streaming: async () => {
    const response = await new Promise((resolve, reject) => {
      const call = client.StreamingInputCall((error, value) => (error ? reject(error) : resolve(value)));
      REQUEST_SIZES.forEach((bytes) => call.write({ payload: zeros(bytes) }));
      call.end();
    });
    assert.strictEqual(response.aggregated_payload_size, 74922);
  },
  server_streaming: async () => {
    const { status, messages } = await collect(client.StreamingOutputCall({ response_parameters: RESPONSE_SIZES.map((size) => ({ size })) }));
    assert.strictEqual(status.code, 0);
    assert.strictEqual(messages.length, RESPONSE_SIZES.length);
    messages.forEach((message, i) => isZeros(RESPONSE_SIZES[i], message.payload));
  },
  ping_pong: async () => {
    const call = client.FullDuplexCall();
    const ended = collect(call);
    for (let i = 0; i < REQUEST_SIZES.length; i++) {
      const answer = new Promise((resolve) => { call.once('data', resolve); });
      call.write({ response_parameters: [{ size: RESPONSE_SIZES[i] }], payload: zeros(REQUEST_SIZES[i]) });
      isZeros(RESPONSE_SIZES[i], (await answer).payload);
    }
    call.end();
    const { status, messages } = await ended;
    assert.deepStrictEqual([status.code, messages.length], [0, RESPONSE_SIZES.length]);
  },
  empty_stream: async () => {
    const call = client.FullDuplexCall();
    const ended = collect(call);
    call.end();
    const { status, messages } = await ended;
    assert.deepStrictEqual([status.code, messages.length], [0, 0]);
  },
  custom_metadata: async () => {
    const metadata = new grpc.Metadata();
    metadata.set('x-grpc-test-echo-initial', 'test_initial_metadata_value');
    metadata.set('x-grpc-test-echo-trailing-bin', Buffer.from('ababab', 'hex'));
    const check = ({ headers, status }) => {
      assert.strictEqual(status.code, 0);
      assert.deepStrictEqual(headers.get('x-grpc-test-echo-initial'), ['test_initial_metadata_value']);
      assert.deepStrictEqual(status.metadata.get('x-grpc-test-echo-trailing-bin').map((value) => value.toString('hex')), ['ababab']);
    };
    check(await unary(client, 'UnaryCall', largeRequest(), metadata));
    const call = client.FullDuplexCall(metadata);
    const ended = collect(call);
    call.write({ response_parameters: [{ size: LARGE_RESPONSE }], payload: zeros(LARGE_REQUEST) });
    call.end();
    check(await ended);
  },
  status_code_and_message: () => statusCase('test status message'),
  special_status_message: () => statusCase('\t\ntest with whitespace\r\nand Unicode BMP \u263A and non-BMP \u{1F608}\t\n'),
  unimplemented_method: async () => assert.strictEqual((await unary(client, 'UnimplementedCall', {})).status.code, 12),
  unimplemented_service: async () => assert.strictEqual((await unary(unknown, 'UnimplementedCall', {})).status.code, 12),
  cancel_after_begin: async () => {
    const call = client.StreamingInputCall(() => {});
    const ended = new Promise((resolve) => { call.on('status', resolve); });
    call.cancel();
    assert.strictEqual((await ended).code, 1);
  },
  cancel_after_first_response: async () => {
    const call = client.FullDuplexCall();
    const ended = collect(call);
    call.once('data', () => call.cancel());
    call.write({ response_parameters: [{ size: RESPONSE_SIZES[0] }], payload: zeros(REQUEST_SIZES[0]) });
    assert.strictEqual((await ended).status.code, 1);
  },
  timeout_on_sleeping_server: async () => {
    const call = client.FullDuplexCall({ deadline: Date.now() + 1 });
    const ended = collect(call);
    call.write({ payload: zeros(REQUEST_SIZES[0]) });
    assert.strictEqual((await ended).status.code, 4);
  },
  concurrent_large_unary: () => Promise.all(Array.from({ length: 50 }, largeUnary)),
  rpc_soak: async () => {
    for (let i = 0; i < 200; i++) {
      await largeUnary();
    }
  },
};

async function main() {
  const results = {};
  for (const [name, run] of Object.entries(cases)) {
    let timer;
    const late = new Promise((_, reject) => { timer = setTimeout(reject, CASE_LIMIT_MS, new Error('takes too long')); });
    results[name] = await Promise.race([run(), late]).then(() => 'ok', (error) => `${error.message}`);
    clearTimeout(timer);
  }
  // Not by closing the stubs: this client leaves the stream of a call cancelled at its start open, and would wait for it.
  process.stdout.write(JSON.stringify(results), () => process.exit(0));
}

main();
