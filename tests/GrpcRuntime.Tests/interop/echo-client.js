// Calls the echo service with the JavaScript client and prints one JSON object with what it saw.
// Usage: node echo-client.js <host:port> <path of echo.proto>; modules are found through NODE_PATH.
'use strict';

const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [target, protoPath] = process.argv.slice(2);
const definition = loader.loadSync(protoPath, { keepCase: true, longs: Number, defaults: true });
const { EchoService } = grpc.loadPackageDefinition(definition).grpcruntime.tests.v1;
const client = new EchoService(target, grpc.credentials.createInsecure());

// Calls that should fail end with their status instead of throwing.
const unary = (request, metadata = new grpc.Metadata(), options = {}) =>
  new Promise((resolve) => {
    const seen = {};
    const call = client.Unary(request, metadata, options, (error, response) => {
      seen.response = response;
      seen.error = error;
    });
    call.on('metadata', (headers) => { seen.headers = headers; });
    call.on('status', (status) => {
      seen.status = status;
      setImmediate(() => resolve(seen));
    });
  });

const collect = (call) =>
  new Promise((resolve) => {
    const messages = [];
    let status;
    call.on('data', (message) => messages.push(message));
    call.on('error', () => {});
    call.on('status', (value) => {
      status = value;
      setImmediate(() => resolve({ messages, status }));
    });
  });

async function main() {
  const result = {};

  const metadata = new grpc.Metadata();
  metadata.set('x-text', 'value');
  metadata.set('x-data-bin', Buffer.from([0, 1, 254, 255]));
  const plain = await unary({ text: 'hello', payload: Buffer.from([1, 2]) }, metadata);
  result.unary = {
    code: plain.status.code,
    text: plain.response.text,
    headerText: plain.headers.get('x-text'),
    headerBytes: plain.headers.get('x-data-bin').map((value) => [...value]),
    trailerBytes: plain.status.metadata.get('x-data-bin').map((value) => [...value]),
  };

  const down = await collect(client.ServerStream({ text: 's', count: 1000 }));
  result.serverStream = { code: down.status.code, count: down.messages.length, last: down.messages.at(-1).count };

  result.clientStream = await new Promise((resolve, reject) => {
    const call = client.ClientStream((error, response) => (error ? reject(error) : resolve({ count: response.count })));
    for (let i = 0; i < 1000; i++) {
      call.write({ count: i });
    }
    call.end();
  });

  const duplex = client.Duplex();
  const echoes = collect(duplex);
  for (let i = 0; i < 1000; i++) {
    duplex.write({ count: i });
  }
  duplex.end();
  const echoed = await echoes;
  result.duplex = {
    code: echoed.status.code,
    inOrder: echoed.messages.length === 1000 && echoed.messages.every((message, i) => message.count === i),
  };

  const late = await unary({ text: 'wait' }, new grpc.Metadata(), { deadline: Date.now() + 200 });
  result.deadline = { code: late.status.code };

  const open = client.Duplex();
  const cancelled = collect(open);
  open.write({ text: 'first' });
  open.once('data', () => open.cancel());
  result.cancel = { code: (await cancelled).status.code };

  const failed = await unary({ text: 'fail' });
  result.error = {
    code: failed.status.code,
    details: failed.status.details,
    statusDetails: failed.status.metadata.get('grpc-status-details-bin').map((value) => value.toString('base64')),
  };

  const big = await unary({ payload: Buffer.alloc(5 * 1024 * 1024) });
  result.tooLarge = { code: big.status.code };

  // 2 is gzip in the client's list of algorithms.
  const packed = new EchoService(target, grpc.credentials.createInsecure(), { 'grpc.default_compression_algorithm': 2 });
  result.gzip = await new Promise((resolve) => {
    packed.Unary({ text: 'z'.repeat(100000) }, (error, response) =>
      resolve({ code: error ? error.code : 0, length: response ? response.text.length : 0 }));
  });
  packed.close();

  const missing = grpc.makeGenericClientConstructor({
    Nothing: {
      path: '/grpcruntime.tests.v1.EchoService/Nothing',
      requestStream: false,
      responseStream: false,
      requestSerialize: () => Buffer.alloc(0),
      requestDeserialize: (bytes) => bytes,
      responseSerialize: (value) => value,
      responseDeserialize: (bytes) => bytes,
    },
  }, 'Missing');
  const other = new missing(target, grpc.credentials.createInsecure());
  result.unimplemented = await new Promise((resolve) => other.Nothing({}, (error) => resolve({ code: error.code })));
  other.close();

  client.close();
  process.stdout.write(JSON.stringify(result));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
