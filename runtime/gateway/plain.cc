// The plain relay: no login of its own, no statements.
#include "gateway/protocol.h"

namespace carrel::gateway {
namespace {

class PlainRelay final : public Protocol {
 public:
  explicit PlainRelay(Link& link) : link_(link) { link_.Connect(); }

  void FromClient(std::string_view bytes) override { link_.ToServer(bytes); }
  void FromServer(std::string_view bytes) override { link_.ToClient(bytes); }
  void Connected() override { connected_ = true; }
  void ConnectFailed(const std::string& why) override { link_.Close(why); }
  bool WantsClient() const override { return connected_; }
  bool LoggedIn() const override { return connected_; }

 private:
  Link& link_;
  bool connected_ = false;
};

class PlainFactory final : public ProtocolFactory {
 public:
  std::unique_ptr<Protocol> Make(Link& link) override { return std::make_unique<PlainRelay>(link); }
};

}  // namespace

std::unique_ptr<ProtocolFactory> MakePlainRelay() { return std::make_unique<PlainFactory>(); }

}  // namespace carrel::gateway
