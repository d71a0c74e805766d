#include "gateway/relay.h"

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>

#include <atomic>

#include "gateway/gateway.h"
#include "unit/gateway/sockets.h"

namespace carrel::gateway {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

// A server that sends back what it gets, and ends when the client ends.
void Echo(int fd) {
  std::string buffer(64 << 10, '\0');
  for (ssize_t n; (n = ::recv(fd, buffer.data(), buffer.size(), 0)) > 0;)
    if (!SendAll(fd, {buffer.data(), static_cast<size_t>(n)})) return;
}

size_t OpenDescriptors() {
  size_t count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr) ++count;
  ::closedir(dir);
  return count;
}

class RelayTest : public ::testing::Test {
 protected:
  void Open(uint16_t server_port, const std::function<void(Upstream&)>& change = {}) {
    Upstream upstream;
    upstream.name = "default";
    upstream.kind = "relay";
    upstream.host = "127.0.0.1";
    upstream.port = server_port;
    if (change) change(upstream);
    auto gateway = Gateway::Prepare(std::move(upstream));
    ASSERT_TRUE(gateway.has_value()) << gateway.error().ToString();
    gateway_ = std::move(*gateway);
    auto port = gateway_->OpenHere();
    ASSERT_TRUE(port.has_value()) << port.error().ToString();
    port_ = *port;
  }
  void Close() { ASSERT_TRUE(gateway_->Close(Append()).has_value()); }
  AppendRecord Append() {
    return [this](const std::string& kind, const Json& members) -> Result<void> {
      log_.push_back(kind + " " + members.dump());
      if (kind == "gateway-end") end_ = members;
      return {};
    };
  }

  std::unique_ptr<Gateway> gateway_;
  uint16_t port_ = 0;
  std::vector<std::string> log_;
  Json end_;
};

TEST_F(RelayTest, PassesBytesBothWaysAndHalfCloses) {
  Server server(Echo);
  Open(server.port());
  UniqueFd client = Dial(port_);
  ASSERT_TRUE(client);
  std::string sent(5 << 20, '\0');
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 2654435761u >> 24);
  std::thread writer([&] {
    EXPECT_TRUE(SendAll(client.get(), sent));
    ::shutdown(client.get(), SHUT_WR);  // the server's answer comes all the same
  });
  EXPECT_TRUE(ReceiveUpTo(client.get(), sent.size() + 1) == sent);
  writer.join();
  client.reset();
  Close();
  EXPECT_EQ(end_["connections"], 1);
  EXPECT_EQ(end_["bytes_to_server"], sent.size());
  EXPECT_EQ(end_["bytes_to_client"], sent.size());
}

TEST_F(RelayTest, ASlowReaderHoldsTheWriterBack) {
  std::atomic<size_t> written = 0;
  Server server([&](int fd) {
    const std::string chunk(64 << 10, 'x');
    for (int i = 0; i < 1600 && SendAll(fd, chunk); ++i) written += chunk.size();
  });
  Open(server.port());
  UniqueFd client = Dial(port_);
  size_t before = 0;
  // Until nothing moves any more: kernel buffers are full, and the relay holds one chunk.
  do {
    before = written;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  } while (written != before || written == 0);
  EXPECT_LT(written, 60u << 20);
  EXPECT_EQ(ReceiveUpTo(client.get(), 200u << 20).size(), 1600u * (64 << 10));
}

TEST_F(RelayTest, ThousandsOfConnectionsLeaveNothing) {
  Server server(Echo);
  Open(server.port(), [](Upstream& upstream) { upstream.max_connections = 300; });
  auto cycle = [&](int count) {
    for (int i = 0; i < count; ++i) {
      UniqueFd client = Dial(port_);
      ASSERT_TRUE(client);
      ASSERT_TRUE(SendAll(client.get(), "ping"));
      ASSERT_EQ(ReceiveUpTo(client.get(), 4), "ping");
    }
  };
  cycle(10);
  const size_t before = OpenDescriptors();
  cycle(1990);
  std::vector<UniqueFd> many;
  for (int i = 0; i < 200; ++i) many.push_back(Dial(port_));
  for (const UniqueFd& client : many) ASSERT_TRUE(SendAll(client.get(), "ping"));
  for (const UniqueFd& client : many) ASSERT_EQ(ReceiveUpTo(client.get(), 4), "ping");
  many.clear();
  for (int i = 0; i < 400 && OpenDescriptors() > before; ++i) ::usleep(10'000);
  EXPECT_LE(OpenDescriptors(), before);
  Close();
  EXPECT_EQ(end_["connections"], 2200);
  EXPECT_EQ(end_["refused"], 0);
}

TEST_F(RelayTest, LimitsConnections) {
  Server server(Echo);
  Open(server.port(), [](Upstream& upstream) { upstream.max_connections = 2; });
  UniqueFd first = Dial(port_), second = Dial(port_);
  ASSERT_TRUE(SendAll(first.get(), "1") && SendAll(second.get(), "2"));
  EXPECT_EQ(ReceiveUpTo(first.get(), 1) + ReceiveUpTo(second.get(), 1), "12");
  UniqueFd third = Dial(port_);
  EXPECT_TRUE(EndsSoon(third.get()));
  first.reset();
  for (int i = 0; i < 200; ++i) {  // a place is free again
    third = Dial(port_);
    if (SendAll(third.get(), "3") && ReceiveUpTo(third.get(), 1) == "3") break;
    ::usleep(10'000);
  }
  EXPECT_TRUE(SendAll(third.get(), "4"));
  EXPECT_EQ(ReceiveUpTo(third.get(), 1), "4");
  Close();
  EXPECT_GE(end_["refused"], 1);
  EXPECT_THAT(log_, Contains(HasSubstr("too many connections")));
}

// Says in its protocol's words, of two letters, what comes of a connection.
class Talker final : public Protocol {
 public:
  explicit Talker(Link& link) : link_(link) {}
  void FromClient(std::string_view bytes) override {
    bytes == "cancel" ? link_.ConnectToCancel() : link_.Connect();
  }
  void FromServer(std::string_view) override {}
  void Connected() override {
    connected_ = true;
    link_.ToClient("ok");
  }
  void ConnectFailed(const std::string& why) override { link_.Close(why); }
  void NoRoom(const std::string& why) override {
    link_.ToClient("no");
    link_.Close(why);
  }
  bool LoggedIn() const override { return connected_; }

 private:
  Link& link_;
  bool connected_ = false;
};

TEST(RelaySurplus, IsToldAndConnectedOnlyToCancel) {
  std::atomic<int> reached = 0;
  Server server([&](int fd) {
    ++reached;
    (void)EndsSoon(fd);
  });
  auto records = *RecordQueue::Make();
  class Factory final : public ProtocolFactory {
    std::unique_ptr<Protocol> Make(Link& link) override { return std::make_unique<Talker>(link); }
  } factory;
  UniqueFd listener = *ListenHere(0);
  const uint16_t port = PortOf(listener.get());
  auto relay = *Relay::Start(std::move(listener),
                             {.address = "127.0.0.1",
                              .port = server.port(),
                              .max_connections = 2,
                              .max_surplus = 3,
                              .surplus_seconds = 3},
                             factory, *records);
  std::vector<UniqueFd> all;
  auto dial = [&](const std::string& says, const std::string& asks = "hello") {
    all.push_back(Dial(port));
    EXPECT_TRUE(SendAll(all.back().get(), asks));
    EXPECT_EQ(ReceiveUpTo(all.back().get(), 2), says);
  };
  dial("ok");
  dial("ok");
  dial("no");
  EXPECT_TRUE(EndsSoon(all.back().get()));
  all.pop_back();
  dial("ok", "cancel");
  all.pop_back();
  // Silent ones take all that there is for being told so, and then the others are reset...
  ::usleep(100'000);
  for (int i = 0; i < 3; ++i) all.push_back(Dial(port));
  ::usleep(100'000);
  UniqueFd reset = Dial(port);
  EXPECT_TRUE(EndsSoon(reset.get()));
  char byte = 0;
  EXPECT_EQ(::recv(all.back().get(), &byte, 1, MSG_DONTWAIT), -1) << "while the silent ones wait";
  // ...for a short time.
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(EndsSoon(all[all.size() - 1 - i].get()));
  all.resize(2);
  ::usleep(100'000);
  dial("no");
  all.clear();
  std::string said;
  for (int i = 0; i < 200 && said != "ok"; ++i, ::usleep(10'000)) {  // there is room again
    UniqueFd client = Dial(port);
    if (SendAll(client.get(), "hello")) said = ReceiveUpTo(client.get(), 2);
  }
  EXPECT_EQ(said, "ok");
  relay->Stop();
  EXPECT_EQ(reached, 4);
  EXPECT_GE(relay->counts().refused, 6u);
  std::string log;
  ASSERT_TRUE(records
                  ->Drain([&](const std::string& kind, const Json& members) -> Result<void> {
                    log += kind + members.dump() + "\n";
                    return {};
                  })
                  .has_value());
  EXPECT_THAT(log, HasSubstr("too many connections: the job may have 2 at once"));
}

TEST_F(RelayTest, EndsIdleConnections) {
  Server server(Echo);
  Open(server.port(), [](Upstream& upstream) { upstream.idle_seconds = 1; });
  UniqueFd client = Dial(port_);
  EXPECT_TRUE(EndsSoon(client.get()));
  Close();
  EXPECT_THAT(log_, Contains(HasSubstr("idle for too long")));
}

TEST_F(RelayTest, TellsWhenTheDatabaseIsAway) {
  uint16_t nobody = 0;
  {
    auto listener = ListenHere(0);
    nobody = PortOf(listener->get());
  }
  Open(nobody);
  UniqueFd client = Dial(port_);
  EXPECT_TRUE(EndsSoon(client.get()));
  Close();
  EXPECT_THAT(log_, Contains(HasSubstr("gateway-unreachable")));
  EXPECT_THAT(log_, Contains(HasSubstr("ECONNREFUSED")));
}

TEST_F(RelayTest, AllEndsWithTheAction) {
  Server server(Echo);
  Open(server.port());
  UniqueFd client = Dial(port_);
  ASSERT_TRUE(SendAll(client.get(), "x"));
  ASSERT_EQ(ReceiveUpTo(client.get(), 1), "x");
  Close();
  EXPECT_TRUE(EndsSoon(client.get()));
  EXPECT_FALSE(Dial(port_));
  EXPECT_THAT(log_, Contains(HasSubstr("the action has ended")));
}

TEST(UpstreamTest, ResolvesAndRefuses) {
  EXPECT_EQ(ResolveAddress("192.0.2.7").value_or(""), "192.0.2.7");
  EXPECT_EQ(ResolveAddress("::1").value_or(""), "::1");
  EXPECT_THAT(ResolveAddress("localhost").value_or(""), ::testing::AnyOf("127.0.0.1", "::1"));
  EXPECT_FALSE(ResolveAddress("--help").has_value());
  EXPECT_FALSE(ResolveAddress("").has_value());
  Upstream upstream;
  upstream.kind = "oracle";
  upstream.host = "127.0.0.1";
  EXPECT_FALSE(Gateway::Prepare(std::move(upstream)).has_value());
}

}  // namespace
}  // namespace carrel::gateway
