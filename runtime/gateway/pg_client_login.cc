// The client's login: the gateway as PostgreSQL's server.
#include "gateway/pg_session.h"

namespace carrel::gateway::pg {
namespace {

constexpr char kScram[] = "SCRAM-SHA-256";

bool IsOff(const std::string& value) {
  return value == "false" || value == "off" || value == "no" || value == "0";
}

}  // namespace

void Session::ReadClientLogin() {
  while (state_ == State::kStartup && TakeStartup()) {
  }
  while ((state_ == State::kPassword || state_ == State::kScramFirst ||
          state_ == State::kScramFinal) &&
         TakeClientMessage()) {
  }
}

// A whole first message, if there is one: length, code, body.
bool Session::TakeStartup() {
  if (client_in_.size() < 8) return false;
  const uint32_t length = ReadU32(client_in_);
  if (length < 8 || length > kMaxStartup) {
    state_ = State::kEnded;
    link_.Close("the action's first message is not PostgreSQL's");
    return false;
  }
  if (client_in_.size() < length) return false;
  const std::string message = client_in_.substr(8, length - 8);
  const uint32_t code = ReadU32(std::string_view(client_in_).substr(4));
  client_in_.erase(0, length);
  if (code == kSslRequest || code == kGssRequest)
    link_.ToClient("N");  // its own loopback; the way to the database has TLS of its own
  else if (code == kCancelRequest)
    Cancel(message);
  else
    Startup(code, message);
  return true;
}

void Session::Startup(uint32_t version, std::string_view parameters) {
  if (version >> 16 != 3)
    return Reject("0A000", "only version 3 of the protocol is supported", "an old protocol");
  if (!TakeParameters(parameters))
    return Reject("08P01", "the startup message is malformed", "a malformed startup message");
  const auto replication = parameters_.find("replication");
  if (replication != parameters_.end() && !IsOff(replication->second))
    return Reject("0A000", "replication is not available here", "replication was asked for");
  wrong_user_ = parameters_["user"] != shared_.login.user;
  const std::string& database =
      parameters_["database"].empty() ? parameters_["user"] : parameters_["database"];
  if (!wrong_user_ && database != shared_.upstream.database)
    return Reject("3D000", "this job was not granted the database \"" + database + "\"",
                  "another database was asked for: " + database);
  NegotiateVersion(version);
  AskClient();
}

bool Session::TakeParameters(std::string_view parameters) {
  std::string_view name, value;
  while (TakeString(parameters, name) && !name.empty()) {
    if (!TakeString(parameters, value)) return false;
    parameters_[std::string(name)] = value;
  }
  return name.empty() && parameters.empty() && !parameters_["user"].empty();
}

// A client that knows more than version 3.0 is told what is known here.
void Session::NegotiateVersion(uint32_t version) {
  std::string unknown;
  uint32_t count = 0;
  std::erase_if(parameters_, [&](const auto& parameter) {
    if (!parameter.first.starts_with("_pq_.")) return false;
    unknown += parameter.first + '\0';
    ++count;
    return true;
  });
  if (version != kVersion3 || count > 0)
    link_.ToClient(Message('v', U32(kVersion3) + U32(count) + unknown));
}

void Session::AskClient() {
  switch (shared_.upstream.client_login) {
    case ClientLogin::kCleartext:
      link_.ToClient(Message('R', U32(3)));
      state_ = State::kPassword;
      return;
    case ClientLogin::kMd5: {
      auto salt = RandomHex(2);
      if (!salt) return Reject("XX000", "no random numbers", salt.error().ToString());
      md5_salt_ = *salt;
      link_.ToClient(Message('R', U32(5) + md5_salt_));
      state_ = State::kPassword;
      return;
    }
    case ClientLogin::kScramSha256:
      link_.ToClient(Message('R', U32(10) + kScram + '\0' + '\0'));
      state_ = State::kScramFirst;
      return;
  }
}

bool Session::TakeClientMessage() {
  if (client_in_.size() < 5) return false;
  const uint32_t length = ReadU32(std::string_view(client_in_).substr(1));
  if (client_in_[0] != 'p' || length < 4 || length - 4 > kMaxLoginBody) {
    Reject("08P01", "a password message was expected", "no password message");
    return false;
  }
  if (client_in_.size() < length + 1) return false;
  std::string body = client_in_.substr(5, length - 4);
  client_in_.erase(0, length + 1);
  if (state_ == State::kPassword)
    CheckClientPassword(body);
  else if (state_ == State::kScramFirst)
    ClientScramFirst(body);
  else
    ClientScramFinal(body);
  Wipe(body);
  return true;
}

void Session::CheckClientPassword(std::string_view body) {
  if (!body.ends_with('\0')) return Reject("08P01", "malformed password message", "malformed");
  body.remove_suffix(1);
  const JobLogin& login = shared_.login;
  const std::string wanted =
      md5_salt_.empty() ? login.password : Md5Password(login.user, login.password, md5_salt_);
  if (wrong_user_ || !SameBytes(body, wanted))
    return Reject("28P01", "password authentication failed", "the credentials are not this job's");
  Admit();
}

void Session::ClientScramFirst(std::string_view body) {
  std::string_view mechanism;
  if (!TakeString(body, mechanism) || mechanism != kScram || body.size() < 4 ||
      ReadU32(body) != body.size() - 4)
    return Reject("08P01", "malformed SASL message", "a malformed SASL message");
  auto nonce = RandomHex(12);
  if (!nonce) return Reject("XX000", "no random numbers", nonce.error().ToString());
  client_scram_.emplace(shared_.client_keys, *nonce);
  auto reply = client_scram_->First(body.substr(4));
  if (!reply) return Reject("08P01", "malformed SCRAM message", reply.error().ToString());
  link_.ToClient(Message('R', U32(11) + *reply));
  state_ = State::kScramFinal;
}

void Session::ClientScramFinal(std::string_view body) {
  auto reply = client_scram_->Final(body);
  if (!reply || wrong_user_)
    return Reject("28P01", "password authentication failed", "the credentials are not this job's");
  link_.ToClient(Message('R', U32(12) + *reply));
  Admit();
}

void Session::Admit() {
  state_ = State::kConnecting;
  cancel_ ? link_.ConnectToCancel() : link_.Connect();
}

// A key that this gateway did not give out cancels nothing: other jobs' sessions, and those that
// aren't carrel's, cannot be reached.
void Session::Cancel(std::string_view body) {
  if (body.size() != 8) {
    state_ = State::kEnded;
    return link_.Close("a malformed cancel request");
  }
  const CancelKey asked = {ReadU32(body), ReadU32(body.substr(4))};
  const auto found = shared_.cancels.find(asked);
  if (found == shared_.cancels.end()) {
    link_.Log(Event{"gateway-refused", link_.id(), {{"why", "a cancel key of no session"}}});
    state_ = State::kEnded;
    return link_.Close("a cancel key of no session");
  }
  link_.Log(Event{"gateway-cancel", link_.id(), {{"process", uint64_t{asked.process}}}});
  cancel_ = found->second;
  Admit();
}

void Session::Reject(std::string_view sqlstate, const std::string& text, const std::string& why) {
  state_ = State::kEnded;
  link_.Log(Event{"gateway-refused", link_.id(), {{"why", why}}});
  link_.ToClient(FatalError(sqlstate, text));
  link_.Close(why);
}

}  // namespace carrel::gateway::pg
