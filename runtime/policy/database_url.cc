#include "policy/database_url.h"

#include <algorithm>
#include <optional>

namespace carrel {
namespace {

// "%2F" to "/"; nothing when the text is not so encoded, or holds a control character.
std::optional<std::string> PercentDecode(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const std::string digits = text.substr(i + 1, 2);
    if (digits.size() != 2 || digits.find_first_not_of("0123456789abcdefABCDEF") != digits.npos)
      return std::nullopt;
    out += static_cast<char>(std::stoi(digits, nullptr, 16));
    i += 2;
  }
  const bool control = std::any_of(out.begin(), out.end(), [](unsigned char c) { return c < 32; });
  return control ? std::nullopt : std::optional(out);
}

// Of libpq's modes those that say for certain what is done.
std::optional<std::string> TlsMode(const std::string& query) {
  if (query.empty()) return "verify-full";
  for (const auto& [ours, libpqs] : {std::pair{"off", "disable"},
                                     {"require", "require"},
                                     {"verify-ca", "verify-ca"},
                                     {"verify-full", "verify-full"}})
    if (query == std::string("?sslmode=") + libpqs) return ours;
  return std::nullopt;
}

// "HOST", "HOST:PORT", "[ADDRESS]:PORT".
bool SplitHost(const std::string& place, DatabaseUrl& out) {
  const size_t bracket = place.starts_with('[') ? place.find(']') : 0;
  if (bracket == std::string::npos) return false;
  const size_t colon = place.find(':', bracket);
  out.host = bracket == 0 ? place.substr(0, colon) : place.substr(1, bracket - 1);
  const std::string after = bracket == 0 ? "" : place.substr(bracket + 1, 1);
  if (out.host.empty() || (!after.empty() && after != ":")) return false;
  if (colon == std::string::npos) return true;
  const std::string port = place.substr(colon + 1);
  if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != port.npos)
    return false;
  out.port = std::stoll(port);
  return out.port >= 1 && out.port <= 65535;
}

}  // namespace

Result<DatabaseUrl> ParseDatabaseUrl(const std::string& url) {
  const Error bad = BadInput("", "not the URL of a database that carrel knows",
                             "postgresql://USER:PASSWORD@HOST[:PORT]/NAME[?sslmode=disable|require|"
                             "verify-ca|verify-full], with %XX for what is not plain");
  std::string rest;
  for (const std::string scheme : {"postgresql://", "postgres://"})
    if (url.starts_with(scheme)) rest = url.substr(scheme.size());
  const size_t query = std::min(rest.find('?'), rest.size());
  const auto mode = TlsMode(rest.substr(query));
  rest.resize(query);
  const size_t at = rest.rfind('@'), slash = rest.find('/', at == rest.npos ? 0 : at);
  if (!mode || at == rest.npos || slash == rest.npos) return bad;
  const std::string login = rest.substr(0, at);
  const size_t colon = login.find(':');
  DatabaseUrl out;
  out.tls_mode = *mode;
  if (colon == login.npos || !SplitHost(rest.substr(at + 1, slash - at - 1), out)) return bad;
  const auto user = PercentDecode(login.substr(0, colon));
  const auto password = PercentDecode(login.substr(colon + 1));
  const auto database = PercentDecode(rest.substr(slash + 1));
  if (!user || !password || !database || user->empty() || database->empty()) return bad;
  out.user = *user;
  out.password = *password;
  out.database = *database;
  return out;
}

}  // namespace carrel
