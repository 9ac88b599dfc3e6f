// Serves the public interoperability cases with the JavaScript server; prints its port and runs until its standard input ends.
// Usage: node interop-server.js <path of testing.proto>; modules are found through NODE_PATH.
'use strict';

const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const ECHO_INITIAL = 'x-grpc-test-echo-initial';
const ECHO_TRAILING = 'x-grpc-test-echo-trailing-bin';

const { testing } = grpc.loadPackageDefinition(
  loader.loadSync(process.argv[2], { keepCase: true, longs: Number, defaults: true })).grpc;
const zeros = (bytes) => ({ payload: { body: Buffer.alloc(bytes) } });

const echoMetadata = (call) => {
  const initial = call.metadata.get(ECHO_INITIAL);
  if (initial.length > 0) {
    const headers = new grpc.Metadata();
    headers.set(ECHO_INITIAL, initial[0]);
    call.sendMetadata(headers);
  }

  const trailers = new grpc.Metadata();
  call.metadata.get(ECHO_TRAILING).forEach((value) => trailers.add(ECHO_TRAILING, value));
  return trailers;
};

const statusOf = ({ code, message }) => ({ code, details: message });
const answer = (call, request) => request.response_parameters.forEach(({ size }) => call.write(zeros(size)));

const server = new grpc.Server();
server.addService(testing.TestService.service, {
  EmptyCall: (call, callback) => callback(null, {}),
  UnaryCall: (call, callback) => {
    const trailers = echoMetadata(call);
    const { response_status, response_size } = call.request;
    if (response_status) {
      callback(statusOf(response_status));
    } else {
      callback(null, zeros(response_size), trailers);
    }
  },
  StreamingOutputCall: (call) => {
    answer(call, call.request);
    call.end();
  },
  StreamingInputCall: (call, callback) => {
    let aggregated_payload_size = 0;
    call.on('data', (request) => { aggregated_payload_size += request.payload.body.length; });
    call.on('end', () => callback(null, { aggregated_payload_size }));
  },
  FullDuplexCall: (call) => {
    const trailers = echoMetadata(call);
    call.on('data', (request) => {
      if (request.response_status) {
        call.emit('error', statusOf(request.response_status));
      } else {
        answer(call, request);
      }
    });
    call.on('end', () => call.end(trailers));
  },
});

server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) {
    throw error;
  }
  process.stdout.write(`${port}\n`);
  process.stdin.resume().on('end', () => process.exit(0));
});
