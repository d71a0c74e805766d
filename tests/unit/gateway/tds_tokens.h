// TDS as a server and a client send it: for tests that play either.
#pragma once

#include <string>

#include "gateway/tds_login.h"
#include "gateway/tds_wire.h"

namespace carrel::gateway::tds_tokens {

using namespace tds;  // NOLINT: the whole vocabulary of the protocol

inline Login7 SampleLogin() {
  Login7 login;
  login.version = 0x74000004;
  login.user = "job_1";
  login.application = "app";
  login.database = "records";
  return login;
}

// Tokens as a server sends them.
inline std::string Sized(char token, const std::string& body) {
  return token + Little(body.size(), 2) + body;
}
inline std::string ShortText(const std::string& text) {
  return Little(text.size(), 1) + ToUtf16(text);
}
inline std::string Change(char kind, const std::string& value) {
  return Sized('\xe3', kind + ShortText(value) + ShortText(""));
}
inline std::string LoginAck(uint8_t version = 0x74) {
  return Sized('\xad', std::string("\x01") + static_cast<char>(version) + std::string(3, '\0') +
                           ShortText("s") + std::string(4, '\0'));
}
inline std::string Done(uint16_t status, uint64_t rows, char token = '\xfd') {
  return token + Little(status, 2) + Little(0xc1, 2) + Little(rows, 8);
}
inline std::string ErrorToken(uint32_t number) {
  return Sized('\xaa', Little(number, 4) + "\x01\x10" + Little(2, 2) + ToUtf16("no") +
                           std::string(2, '\0') + Little(1, 4));
}
inline std::string Reply(const std::string& tokens) { return Packets(kResult, tokens); }
// Two columns, int and nvarchar(20), and `rows` rows.
inline std::string Table(int rows) {
  const std::string collation(5, '\0');
  std::string tokens = "\x81" + Little(2, 2) + Little(0, 6) + "\x26\x04" + ShortText("n") +
                       Little(0, 6) + "\xe7" + Little(40, 2) + collation + ShortText("t");
  for (int i = 0; i < rows; ++i)
    tokens += "\xd1\x04" + Little(static_cast<uint64_t>(i), 4) + Little(4, 2) + ToUtf16("ab");
  return tokens;
}

inline std::string Headers() {
  return Little(22, 4) + Little(18, 4) + Little(2, 2) + std::string(12, '\0');
}
inline std::string Batch(const std::string& text) {
  return Packets(kBatch, Headers() + ToUtf16(text), 512);
}

}  // namespace carrel::gateway::tds_tokens
