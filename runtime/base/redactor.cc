#include "base/redactor.h"

#include <algorithm>
#include <optional>

namespace carrel {
namespace {

constexpr size_t kLeastOfACutOne = 4;

int Digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// "%XX" and "%25XX" at the front of `text`.
bool IsEncoded(std::string_view text, std::string_view prefix, char wanted) {
  if (!text.starts_with(prefix) || text.size() < prefix.size() + 2) return false;
  const int high = Digit(text[prefix.size()]), low = Digit(text[prefix.size() + 1]);
  return high >= 0 && low >= 0 && high * 16 + low == static_cast<unsigned char>(wanted);
}

// How many bytes at the front of `text` spell `secret`. `matched`: bytes of it that are behind us.
std::optional<size_t> Match(std::string_view text, std::string_view secret, bool cut,
                            size_t matched = 0) {
  if (secret.empty()) return 0;
  if (text.empty())
    return cut && matched >= kLeastOfACutOne ? std::optional<size_t>(0) : std::nullopt;
  const auto after = [&](size_t size) -> std::optional<size_t> {
    const auto rest = Match(text.substr(size), secret.substr(1), cut, matched + 1);
    return rest ? std::optional<size_t>(*rest + size) : std::nullopt;
  };
  const char wanted = secret[0];
  std::optional<size_t> found;
  if (IsEncoded(text, "%25", wanted)) found = after(5);
  if (!found && IsEncoded(text, "%", wanted)) found = after(3);
  if (!found && (text[0] == wanted || (wanted == ' ' && text[0] == '+'))) found = after(1);
  if (!found && text.size() > 1 && text[0] == '\\' && text[1] == wanted) found = after(2);
  return found;
}

}  // namespace

Redactor::~Redactor() {
  for (std::string& secret : secrets_) {
    volatile char* bytes = secret.data();
    for (size_t i = 0; i < secret.size(); ++i) bytes[i] = 0;
  }
}

void Redactor::Overwrite(char* text, size_t size, bool cut) const {
  for (size_t at = 0; at < size;) {
    size_t longest = 0;
    for (const std::string& secret : secrets_)
      longest = std::max(longest, Match({text + at, size - at}, secret, cut).value_or(0));
    std::fill_n(text + at, longest, '*');
    at += std::max<size_t>(longest, 1);
  }
}

std::string Redactor::Redacted(std::string_view text) const {
  std::string copy(text);
  Overwrite(copy.data(), copy.size());
  return copy;
}

}  // namespace carrel
