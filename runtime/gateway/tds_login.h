// TDS's two login messages. What a client sends is read, checked, and written anew: nothing of it
// reaches the server that carrel does not know.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace carrel::gateway::tds {

/// What PRELOGIN says about encryption.
enum class Encryption : uint8_t {
  kLoginOnly = 0,
  kOn = 1,
  kNotSupported = 2,
  kRequired = 3,
};

/// The ENCRYPTION option of a PRELOGIN message; kBadInput when the message is none.
Result<Encryption> ReadPrelogin(std::string_view payload);

/// A PRELOGIN message (of either side): a version, `encryption`, and no several sessions in one
/// connection.
std::string WritePrelogin(Encryption encryption);

struct Login7 {
  uint32_t version = 0;  ///< as the message has it: 0x74000004
  uint32_t packet_size = 4096;
  uint32_t process = 0;
  uint8_t flags1 = 0, flags2 = 0, type_flags = 0, flags3 = 0;
  uint32_t time_zone = 0, locale = 0;
  std::string host, user, password, application, server, library, language, database;

  Login7() = default;
  Login7(Login7&&) = default;
  Login7& operator=(Login7&&) = default;
  ~Login7();  ///< wipes the password
};

/// kRefused, in words for the action, for what the gateway does not pass on: integrated security, a
/// change of password, attached files, replication, versions other than 7.1 to 7.4.
Result<Login7> ReadLogin7(std::string_view payload);

/// The message, without feature extensions. The caller wipes it.
std::string WriteLogin7(const Login7& login, std::string_view password);

/// A password as LOGIN7 hides it: nibbles swapped, then XOR 0xa5.
void Obfuscate(std::string& utf16);
void Deobfuscate(std::string& utf16);

}  // namespace carrel::gateway::tds
