// The benchmark's server and loads with @grpc/grpc-js.
// Usage: node grpc-js.js <bench.proto> server | node grpc-js.js <bench.proto> load <figure> <port> <seconds>; modules are found through NODE_PATH.
'use strict';

const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [, , proto, role, figure, port, seconds] = process.argv;
const { BenchService } = grpc.loadPackageDefinition(
  loader.loadSync(proto, { keepCase: true, longs: Number, defaults: true })).hub.benchmarks.v1;
const ACK_EVERY = 64;
const IN_FLIGHT = 100;
const UNSENT_MAX = 1024;
const note = {
  id: '0197a3c2-7d10-7a41-9a40-5f6f4c1d2e3a', seq: '9223372036854775807', at: 1767225600000, kind: 'task_update', body: Buffer.alloc(120), score: 7.5,
};

const serve = () => {
  const server = new grpc.Server();
  server.addService(BenchService.service, {
    Unary: (call, callback) => callback(null, call.request),
    Echo: (call) => {
      call.on('data', (request) => call.write(request));
      call.on('end', () => call.end());
    },
    Upload: (call) => {
      let count = 0;
      call.on('data', () => {
        count += 1;
        if (count % ACK_EVERY === 0) {
          call.write({ count });
        }
      });
      call.on('end', () => call.end());
    },
  });
  server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) => {
    if (error) {
      throw error;
    }

    console.log(`port ${bound}`);
  });
  process.stdin.on('end', () => process.exit(0)).resume();
};

const load = () => {
  const client = new BenchService(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const run = Number(seconds) * 1000;
  const from = performance.now() + run * 0.5;
  const until = from + run;
  const latencies = [];
  let operations = 0;
  const count = (many, sent) => {
    const now = performance.now();
    if (now >= from && now < until) {
      operations += many;
      if (sent !== undefined) {
        latencies.push((now - sent) * 1000);
      }
    }
  };
  const running = () => performance.now() < until;
  const report = () => {
    latencies.sort((a, b) => a - b);
    const at = (share) => (latencies.length === 0 ? 0 : latencies[Math.floor(latencies.length * share)]);
    console.log(JSON.stringify({ PerSecond: operations / (run / 1000), P50: at(0.5), P99: at(0.99) }));
    process.exit(0);
  };

  if (figure === 'ping-pong') {
    const call = client.Echo();
    let sent = performance.now();
    call.on('data', () => {
      count(1, sent);
      if (!running()) {
        report();
      }

      sent = performance.now();
      call.write(note);
    });
    call.write(note);
  } else if (figure === 'one-way') {
    const call = client.Upload();
    call.on('data', () => {
      count(ACK_EVERY);
      if (!running()) {
        report();
      }
    });
    const pump = () => {
      for (let i = 0; i < UNSENT_MAX && running(); i += 1) {
        if (!call.write(note)) {
          call.once('drain', pump);
          return;
        }
      }

      setImmediate(pump);
    };
    pump();
  } else {
    const again = () => {
      if (!running()) {
        report();
      }

      const sent = performance.now();
      client.Unary(note, () => {
        count(1, sent);
        again();
      });
    };
    for (let i = 0; i < IN_FLIGHT; i += 1) {
      again();
    }
  }
};

if (role === 'server') {
  serve();
} else {
  load();
}
