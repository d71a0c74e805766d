// A gateway between a client and a server that the test plays, where the server attacks: whatever
// it sends, the gateway goes on, keeps little of it, says in the log what came, and its client gets
// an error, or an end.
#pragma once

#include <atomic>
#include <fstream>

#include "gateway/postgres.h"
#include "gateway/relay.h"
#include "gateway/tds.h"
#include "unit/gateway/sockets.h"

namespace carrel::gateway {

inline constexpr char kRealSecret[] = "real-pass-word";
/// What an endless stream ends at, and the most that the gateway may need for it.
inline constexpr size_t kAll = 32u << 20;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr size_t kBound = 48u << 20;  // what is freed stays for a while
#else
inline constexpr size_t kBound = 12u << 20;
#endif

inline size_t ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  size_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * 4096;
}

class HostileServers : public ::testing::Test {
 protected:
  /// What the client received, and the log, of one connection to a server that does as `serve`.
  struct Outcome {
    std::string client, log;
    size_t grown = 0;  ///< resident bytes, at most, while it went on
  };

  Outcome Play(const std::string& kind, const std::function<void(int)>& serve,
               const std::function<std::string(int)>& client) {
    Server server(serve);
    Upstream upstream;
    upstream.kind = kind;
    upstream.host = upstream.address = "127.0.0.1";
    upstream.port = server.port();
    upstream.database = "records";
    upstream.user = "real_user";
    upstream.password = *Secret::Of(kRealSecret);
    upstream.tls = tls_;
    upstream.client_login = ClientLogin::kCleartext;
    const JobLogin login{"job_1", "job password"};
    auto records = *RecordQueue::Make();
    auto factory = kind == "mssql" ? *MakeTds(upstream, login) : *MakePostgres(upstream, login);
    UniqueFd listener = *ListenHere(0);
    const uint16_t port = PortOf(listener.get());
    auto relay = *Relay::Start(std::move(listener),
                               {.address = "127.0.0.1", .port = server.port(), .login_seconds = 1},
                               *factory, *records);
    Outcome outcome;
    {
      const size_t before = ResidentBytes();
      UniqueFd fd = Dial(port);
      std::atomic<bool> over = false;
      std::thread watch([&] {
        for (; !over; ::usleep(5'000))
          if (const size_t now = ResidentBytes(); now > before)
            outcome.grown = std::max(outcome.grown, now - before);
      });
      outcome.client = client(fd.get());
      over = true;
      watch.join();
    }
    relay->Stop();
    EXPECT_TRUE(records
                    ->Drain([&](const std::string& name, const Json& members) -> Result<void> {
                      outcome.log += name + " " + members.dump() + "\n";
                      return {};
                    })
                    .has_value());
    for (const char* secret : {kRealSecret, "real_user"}) {
      EXPECT_EQ(outcome.log.find(secret), std::string::npos);
      EXPECT_EQ(outcome.client.find(secret), std::string::npos);
    }
    return outcome;
  }

  TlsMode tls_ = TlsMode::kDisable;
};

}  // namespace carrel::gateway
