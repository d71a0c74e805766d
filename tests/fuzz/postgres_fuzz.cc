// PostgreSQL's protocol against a hostile client and a hostile server: what they send, in any
// order and in any pieces. The first byte of each piece says who sends it and how long it is.
#include <cstdint>
#include <string>
#include <string_view>

#include "gateway/pg_statements.h"
#include "gateway/postgres.h"

namespace {

using namespace carrel::gateway;

class FuzzLink final : public Link {
 public:
  void ToClient(std::string_view) override {}
  void ToServer(std::string_view) override {}
  void Connect() override { connecting = true; }
  void Close(const std::string&) override { closed = true; }
  uint64_t id() const override { return 1; }
  void Log(Record) override {}
  bool connecting = false, closed = false;
};

const Upstream& Database() {
  static const Upstream upstream = [] {
    Upstream made;
    made.kind = "postgresql";
    made.host = "127.0.0.1";
    made.database = "d";
    made.user = "u";
    made.tls = TlsMode::kDisable;
    made.password = std::move(*Secret::Of("password"));
    made.client_login = ClientLogin::kCleartext;
    return made;
  }();
  return upstream;
}

// Calls `client` and `server` with the pieces.
template <typename Client, typename Server>
void Play(std::string_view data, Client client, Server server) {
  while (!data.empty()) {
    const auto head = static_cast<unsigned char>(data[0]);
    data.remove_prefix(1);
    const std::string_view piece = data.substr(0, head >> 1);
    data.remove_prefix(piece.size());
    (head & 1) != 0 ? client(piece) : server(piece);
  }
}

void Login(std::string_view data) {
  static const auto factory = std::move(*MakePostgres(Database(), {"c", "p"}));
  FuzzLink link;
  const auto session = factory->Make(link);
  const bool no_room = !data.empty() && data[0] == 0x7e;
  auto connect = [&] {
    if (!link.connecting) return;
    link.connecting = false;
    no_room ? session->NoRoom("no room") : session->Connected();
  };
  // Half of the inputs begin behind the client's login.
  if (!data.empty() && (data[0] & 1) != 0) {
    session->FromClient(std::string_view("\0\0\0\x1b\0\3\0\0user\0c\0database\0d\0\0", 27));
    session->FromClient(std::string_view("p\0\0\0\6p\0", 7));
    connect();
  }
  Play(
      data,
      [&](std::string_view piece) {
        if (!link.closed && session->WantsClient()) session->FromClient(piece);
        connect();
      },
      [&](std::string_view piece) {
        if (!link.closed) session->FromServer(piece);
      });
  session->Finished();
}

void AfterLogin(std::string_view data) {
  FuzzLink link;
  pg::Statements statements(link, "secret");
  bool good = true;
  Play(
      data, [&](std::string_view piece) { good = good && statements.FromClient(piece); },
      [&](std::string_view piece) { good = good && statements.FromServer(piece); });
  statements.Finished();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::string_view data(reinterpret_cast<const char*>(bytes), size);
  Login(data);
  AfterLogin(data);
  return 0;
}
