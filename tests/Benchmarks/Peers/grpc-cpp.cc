// The benchmark's server and loads with C++ gRPC (callback API).
// Usage: bench server | bench load <figure> <port> <seconds>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "bench.grpc.pb.h"

using hub::benchmarks::v1::BenchService;
using hub::benchmarks::v1::Note;
using hub::benchmarks::v1::Taken;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kAckEvery = 64;
constexpr int kInFlight = 100;

Note MakeNote() {
  Note note;
  note.set_id("0197a3c2-7d10-7a41-9a40-5f6f4c1d2e3a");
  note.set_seq(INT64_MAX);
  note.set_at(1767225600000);
  note.set_kind("task_update");
  note.set_body(std::string(120, '\0'));
  note.set_score(7.5);
  return note;
}

class EchoReactor final : public grpc::ServerBidiReactor<Note, Note> {
 public:
  EchoReactor() { StartRead(&note_); }
  void OnReadDone(bool ok) override {
    if (ok) {
      StartWrite(&note_);
    } else {
      Finish(grpc::Status::OK);
    }
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      StartRead(&note_);
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override { delete this; }

 private:
  Note note_;
};

// Reads go on while an answer is under way; only when a second one is due does reading wait for the first.
class UploadReactor final : public grpc::ServerBidiReactor<Note, Taken> {
 public:
  UploadReactor() { StartRead(&note_); }
  void OnReadDone(bool ok) override {
    if (!ok) {
      std::lock_guard<std::mutex> lock(gate_);
      ended_ = true;
      if (!writing_) {
        Finish(grpc::Status::OK);
      }
      return;
    }
    ++count_;
    if (count_ % kAckEvery == 0) {
      std::lock_guard<std::mutex> lock(gate_);
      if (writing_) {
        waiting_ = true;
        return;
      }
      Answer();
    }
    StartRead(&note_);
  }
  void OnWriteDone(bool) override {
    std::lock_guard<std::mutex> lock(gate_);
    writing_ = false;
    if (waiting_) {
      waiting_ = false;
      Answer();
      StartRead(&note_);
    } else if (ended_) {
      Finish(grpc::Status::OK);
    }
  }
  void OnDone() override { delete this; }

 private:
  void Answer() {
    taken_.set_count(count_);
    writing_ = true;
    StartWrite(&taken_);
  }

  std::mutex gate_;
  Note note_;
  Taken taken_;
  int64_t count_ = 0;
  bool writing_ = false;
  bool waiting_ = false;
  bool ended_ = false;
};

class Service final : public BenchService::CallbackService {
  grpc::ServerBidiReactor<Note, Note>* Echo(grpc::CallbackServerContext*) override { return new EchoReactor(); }
  grpc::ServerBidiReactor<Note, Taken>* Upload(grpc::CallbackServerContext*) override { return new UploadReactor(); }
  grpc::ServerUnaryReactor* Unary(grpc::CallbackServerContext* context, const Note* request, Note* response) override {
    *response = *request;
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

class Load {
 public:
  explicit Load(double seconds) : seconds_(seconds) {
    from_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds / 2));
    until_ = from_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }
  bool Running() const { return Clock::now() < until_; }
  void Count(int64_t operations, Clock::time_point sent = {}) {
    const auto now = Clock::now();
    if (now < from_ || now >= until_) {
      return;
    }
    std::lock_guard<std::mutex> lock(gate_);
    operations_ += operations;
    if (sent != Clock::time_point{}) {
      latencies_.push_back(std::chrono::duration<double, std::micro>(now - sent).count());
    }
  }
  void Report() {
    std::sort(latencies_.begin(), latencies_.end());
    auto at = [this](double share) { return latencies_.empty() ? 0.0 : latencies_[static_cast<size_t>(latencies_.size() * share)]; };
    std::printf("{\"PerSecond\":%f,\"P50\":%f,\"P99\":%f}\n", operations_ / seconds_, at(0.5), at(0.99));
  }

 private:
  double seconds_;
  Clock::time_point from_;
  Clock::time_point until_;
  std::mutex gate_;
  std::vector<double> latencies_;
  int64_t operations_ = 0;
};

void PingPong(BenchService::Stub& stub, Load& load) {
  grpc::ClientContext context;
  auto call = stub.Echo(&context);
  const Note note = MakeNote();
  Note answer;
  while (load.Running()) {
    const auto sent = Clock::now();
    call->Write(note);
    call->Read(&answer);
    load.Count(1, sent);
  }
  call->WritesDone();
  call->Finish();
}

void OneWay(BenchService::Stub& stub, Load& load) {
  grpc::ClientContext context;
  auto call = stub.Upload(&context);
  std::thread reading([&] {
    Taken taken;
    while (call->Read(&taken)) {
      load.Count(kAckEvery);
    }
  });
  const Note note = MakeNote();
  // Fifteen of sixteen messages may wait for the next: as much coalescing as this client offers.
  for (int64_t i = 0; load.Running(); ++i) {
    grpc::WriteOptions options;
    if (i % 16 != 15) {
      options.set_buffer_hint();
    }
    call->Write(note, options);
  }
  call->WritesDone();
  reading.join();
  call->Finish();
}

struct UnaryLoop {
  UnaryLoop(BenchService::Stub& stub, Load& load, std::atomic<int>& open) : stub(stub), load(load), open(open), note(MakeNote()) {}
  void Next() {
    if (!load.Running()) {
      --open;
      return;
    }
    context = std::make_unique<grpc::ClientContext>();
    sent = Clock::now();
    stub.async()->Unary(context.get(), &note, &answer, [this](const grpc::Status&) {
      load.Count(1, sent);
      Next();
    });
  }
  BenchService::Stub& stub;
  Load& load;
  std::atomic<int>& open;
  Note note;
  Note answer;
  Clock::time_point sent;
  std::unique_ptr<grpc::ClientContext> context;
};

void Unary(BenchService::Stub& stub, Load& load) {
  std::atomic<int> open{kInFlight};
  std::vector<std::unique_ptr<UnaryLoop>> loops;
  for (int i = 0; i < kInFlight; ++i) {
    loops.push_back(std::make_unique<UnaryLoop>(stub, load, open));
    loops.back()->Next();
  }
  while (open > 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) {
    Service service;
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service);
    auto server = builder.BuildAndStart();
    std::cout << "port " << port << std::endl;
    std::string line;
    while (std::getline(std::cin, line)) {
    }
    return 0;
  }
  const std::string figure = argv[2];
  auto stub = BenchService::NewStub(grpc::CreateChannel(std::string("127.0.0.1:") + argv[3], grpc::InsecureChannelCredentials()));
  Load load(std::stod(argv[4]));
  if (figure == "ping-pong") {
    PingPong(*stub, load);
  } else if (figure == "one-way") {
    OneWay(*stub, load);
  } else {
    Unary(*stub, load);
  }
  load.Report();
  return 0;
}
