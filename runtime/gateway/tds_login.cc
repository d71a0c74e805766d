#include "gateway/tds_login.h"

#include "gateway/secret.h"
#include "gateway/tds_wire.h"

namespace carrel::gateway::tds {
namespace {

constexpr uint8_t kOptionVersion = 0;
constexpr uint8_t kOptionEncryption = 1;
constexpr uint8_t kOptionMars = 4;
constexpr uint8_t kTerminator = 0xff;

constexpr size_t kOldFixed = 86;    // 7.1
constexpr size_t kFixed = 94;       // from 7.2 on
constexpr uint16_t kMaxName = 128;  // characters, as the server's own limit

// OptionFlags1: bits of byte order, character set and floats stand for other machines' forms.
constexpr uint8_t kForeignForms = 0x0f;
constexpr uint8_t kFlags2Allowed = 0x03;     // language fatal, ODBC
constexpr uint8_t kTypeFlagsAllowed = 0x31;  // T-SQL, OLE DB, read-only intent
constexpr uint8_t kChangePassword = 0x01;
constexpr uint8_t kFlags3Allowed = 0x08;  // unknown collations; no extensions

// Where a text of LOGIN7 is, and what it says. `good` is false when it leaves the message.
struct Field {
  std::string_view bytes;
  bool good = false;
};

Field FieldAt(std::string_view payload, size_t entry, uint16_t most = kMaxName, size_t unit = 2) {
  Reader in(payload.substr(entry));
  const uint16_t offset = in.U16();
  const uint16_t length = in.U16();
  if (length == 0) return {{}, true};
  const size_t bytes = size_t{length} * unit;
  if (length > most || offset > payload.size() || bytes > payload.size() - offset) return {};
  return {payload.substr(offset, bytes), true};
}

Error NotALogin(const std::string& why) {
  return BadInput("login", "the action's login message is not TDS: " + why);
}

bool IsKnownVersion(uint32_t version) {
  const uint32_t family = version >> 24;
  return family >= 0x71 && family <= 0x74;
}

Result<void> CheckFlags(const Login7& login) {
  if ((login.flags1 & kForeignForms) != 0) return NotALogin("numbers in another machine's form");
  if ((login.flags2 & 0x80) != 0)
    return Refused("login", "integrated security is not passed on",
                   "Log in with the user and password of DATABASE_URL");
  if ((login.flags2 & 0x70) != 0) return Refused("login", "only ordinary users may log in");
  if ((login.flags3 & kChangePassword) != 0)
    return Refused("login", "a job does not change passwords");
  return {};
}

}  // namespace

Result<Encryption> ReadPrelogin(std::string_view payload) {
  Encryption found = Encryption::kNotSupported;
  Reader options(payload);
  for (int i = 0; i < 64; ++i) {
    const uint8_t option = options.U8();
    if (!options.good()) break;
    if (option == kTerminator) return found;
    const uint16_t offset = options.BigU16();
    const uint16_t length = options.BigU16();
    if (!options.good() || offset > payload.size() || length > payload.size() - offset) break;
    if (option != kOptionEncryption) continue;
    if (length < 1 || static_cast<uint8_t>(payload[offset]) > 3) break;
    found = static_cast<Encryption>(payload[offset]);
  }
  return BadInput("prelogin", "not a PRELOGIN message");
}

std::string WritePrelogin(Encryption encryption) {
  // 15.0: what it says is shown to people only.
  const std::string version("\x0f\x00\x07\xd0\x00\x00", 6);
  const std::string values[] = {version, std::string(1, static_cast<char>(encryption)),
                                std::string(1, '\0')};
  constexpr uint8_t kOptions[] = {kOptionVersion, kOptionEncryption, kOptionMars};
  std::string table, data;
  for (size_t i = 0; i < 3; ++i) {
    table += static_cast<char>(kOptions[i]);
    table += Big16(static_cast<uint16_t>(3 * 5 + 1 + data.size()));
    table += Big16(static_cast<uint16_t>(values[i].size()));
    data += values[i];
  }
  return table + static_cast<char>(kTerminator) + data;
}

Login7::~Login7() { Wipe(password); }

Result<Login7> ReadLogin7(std::string_view payload) {
  if (payload.size() < kOldFixed) return NotALogin("too short");
  Reader in(payload);
  Login7 login;
  const uint32_t length = in.U32();
  login.version = in.U32();
  login.packet_size = in.U32();
  in.U32();  // the program's version
  login.process = in.U32();
  in.U32();  // an earlier connection
  login.flags1 = in.U8();
  login.flags2 = in.U8();
  login.type_flags = in.U8();
  login.flags3 = in.U8();
  login.time_zone = in.U32();
  login.locale = in.U32();
  if (length != payload.size()) return NotALogin("its length is wrong");
  if (!IsKnownVersion(login.version))
    return Refused("login", "this version of TDS is not supported", "Use 7.1 to 7.4");
  CARREL_TRY(CheckFlags(login));
  struct Text {
    size_t entry;
    std::string* text;
  };
  for (auto [entry, text] : {Text{36, &login.host},
                             {40, &login.user},
                             {48, &login.application},
                             {52, &login.server},
                             {60, &login.library},
                             {64, &login.language},
                             {68, &login.database}}) {
    const Field field = FieldAt(payload, entry);
    if (!field.good) return NotALogin("a text outside the message");
    *text = FromUtf16(field.bytes);
  }
  const Field password = FieldAt(payload, 44);
  const Field sspi = FieldAt(payload, 78, 0xffff, 1);
  const Field attach = FieldAt(payload, 82, 260);
  if (!password.good || !sspi.good || !attach.good) return NotALogin("a text outside the message");
  if (!sspi.bytes.empty() || !attach.bytes.empty())
    return Refused("login", "tickets and attached files are not passed on");
  std::string hidden(password.bytes);
  Deobfuscate(hidden);
  login.password = FromUtf16(hidden);
  Wipe(hidden);
  return login;
}

std::string WriteLogin7(const Login7& login, std::string_view password) {
  const size_t fixed = (login.version >> 24) >= kWideVersion ? kFixed : kOldFixed;
  std::string hidden = ToUtf16(password);
  Obfuscate(hidden);
  std::string table, data;
  auto add = [&](std::string_view utf16) {
    table += Little(fixed + data.size(), 2) + Little(utf16.size() / 2, 2);
    data += utf16;
  };
  add(ToUtf16(login.host));
  add(ToUtf16(login.user));
  add(hidden);
  add(ToUtf16(login.application));
  add(ToUtf16(login.server));
  add({});  // extensions
  add(ToUtf16(login.library));
  add(ToUtf16(login.language));
  add(ToUtf16(login.database));
  table += std::string(6, '\0');  // no hardware address
  add({});                        // SSPI
  add({});                        // attached file
  if (fixed == kFixed) {
    add({});  // new password
    table += Little(0, 4);
  }
  std::string head = Little(login.version, 4) + Little(login.packet_size, 4) + Little(0, 4) +
                     Little(login.process, 4) + Little(0, 4);
  head += static_cast<char>(login.flags1 & ~kForeignForms);
  head += static_cast<char>(login.flags2 & kFlags2Allowed);
  head += static_cast<char>(login.type_flags & kTypeFlagsAllowed);
  head += static_cast<char>(login.flags3 & kFlags3Allowed);
  head += Little(login.time_zone, 4) + Little(login.locale, 4);
  std::string message = Little(4 + head.size() + table.size() + data.size(), 4) + head + table;
  message += data;
  Wipe(hidden);
  Wipe(data);
  return message;
}

void Obfuscate(std::string& utf16) {
  for (char& c : utf16) {
    const auto byte = static_cast<uint8_t>(c);
    c = static_cast<char>(static_cast<uint8_t>(byte << 4 | byte >> 4) ^ 0xa5);
  }
}

void Deobfuscate(std::string& utf16) {
  for (char& c : utf16) {
    const auto byte = static_cast<uint8_t>(static_cast<uint8_t>(c) ^ 0xa5);
    c = static_cast<char>(byte << 4 | byte >> 4);
  }
}

}  // namespace carrel::gateway::tds
