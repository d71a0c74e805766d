// TDS from a hostile client and a hostile server: any bytes from both, in any order. The first byte
// of each piece says who sends it and how long it is.
#include <cstdlib>

#include "gateway/tds.h"
#include "gateway/tds_login.h"
#include "gateway/tds_wire.h"

namespace {

using namespace carrel::gateway;

class NullLink final : public Link {
 public:
  void ToClient(std::string_view bytes) override { Check(bytes); }
  void ToServer(std::string_view bytes) override {
    if (!connected) abort();  // nothing goes out before the login is checked
    Check(bytes);
  }
  void Connect() override { connected = true; }
  void Close(const std::string&) override { closed = true; }
  uint64_t id() const override { return 1; }
  void Log(Record record) override {
    if (auto* statement = std::get_if<Statement>(&record))
      if (statement->text.size() > (64u << 10)) abort();
  }
  bool connected = false, closed = false;

 private:
  void Check(std::string_view) const {
    if (closed) abort();  // a session that was ended sends nothing more
  }
};

struct World {
  Upstream upstream;
  std::unique_ptr<ProtocolFactory> factory;
  World() {
    upstream.database = "d";
    upstream.tls = TlsMode::kDisable;
    upstream.user = "real";
    upstream.password = *Secret::Of("pass");
    factory = *MakeTds(upstream, {"u", "p"});
  }
};

void LogIn(Protocol& session) {
  tds::Login7 login;
  login.version = 0x74000004;
  login.user = "u";
  session.FromClient(tds::Packets(tds::kLogin7, tds::WriteLogin7(login, "p")));
  session.Connected();
  session.FromServer(
      tds::Packets(tds::kResult, tds::WritePrelogin(tds::Encryption::kNotSupported)));
  const std::string ack = std::string("\xad\x06\x00\x01\x74\x00\x00\x04\x00", 9) +
                          std::string("\xfd\x00\x00\x00\x00", 5) + std::string(8, '\0');
  session.FromServer(tds::Packets(tds::kResult, ack));
  if (!session.LoggedIn()) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static World world;
  NullLink link;
  auto session = world.factory->Make(link);
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (bytes.empty()) return 0;
  if ((bytes[0] & 1) != 0) LogIn(*session);
  const bool no_room = (bytes[0] & 2) != 0;
  bytes.remove_prefix(1);
  bool connected = link.connected;
  while (bytes.size() > 1 && !link.closed) {
    const auto control = static_cast<uint8_t>(bytes[0]);
    const std::string_view piece = bytes.substr(1, 1 + (control & 0x7f) * 4);
    bytes.remove_prefix(1 + piece.size());
    if (link.connected && !connected) {
      no_room ? session->NoRoom("no room") : session->Connected();
      connected = true;
      if (no_room && !link.closed) abort();
    }
    if (link.closed) break;
    if ((control & 0x80) != 0)
      connected ? session->FromServer(piece) : void();
    else
      session->FromClient(piece);
  }
  session->Finished();
  return 0;
}
