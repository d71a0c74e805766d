#include "policy/names.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "base/digest.h"

namespace carrel {
namespace {

bool IsLower(char c) { return c >= 'a' && c <= 'z'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsAlnum(char c) { return IsLower(c) || (c >= 'A' && c <= 'Z') || IsDigit(c); }

// One part of an image's name: lower-case letters and digits, with '.', '_', '-' between them.
bool IsImagePart(std::string_view part) {
  auto lower_or_digit = [](char c) { return IsLower(c) || IsDigit(c); };
  return !part.empty() && part.size() <= 128 && lower_or_digit(part.front()) &&
         lower_or_digit(part.back()) && std::all_of(part.begin(), part.end(), [&](char c) {
           return lower_or_digit(c) || c == '.' || c == '_' || c == '-';
         });
}

// "123" or "12.5", nothing else: from_chars alone would take "1e9", "inf" and "nan".
std::optional<double> ParsePlainNumber(std::string_view text) {
  size_t dot = text.find('.');
  std::string_view whole = text.substr(0, dot);
  std::string_view fraction = dot == std::string_view::npos ? "0" : text.substr(dot + 1);
  for (std::string_view part : {whole, fraction})
    if (part.empty() || part.size() > 20 || !std::all_of(part.begin(), part.end(), IsDigit))
      return std::nullopt;
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string Lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

std::string LookAlike(const std::string& name) {
  std::string plain = Lower(name);
  for (char& c : plain) {
    if (c == '0') c = 'o';
    if (c == '1' || c == 'i') c = 'l';
    if (c == '_' || c == '.') c = '-';
  }
  return plain;
}

bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= 128 && IsAlnum(text.front()) &&
         text.find("..") == std::string_view::npos &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; });
}

bool IsCommitHash(std::string_view text) { return IsLowerHex(text, 40) || IsLowerHex(text, 64); }

bool IsEnvironmentName(std::string_view text) {
  return !text.empty() && text.size() <= 128 && !IsDigit(text.front()) &&
         std::all_of(text.begin(), text.end(), [](char c) { return IsAlnum(c) || c == '_'; });
}

bool IsFileType(std::string_view text) {
  return text.size() > 1 && text[0] == '.' && std::all_of(text.begin() + 1, text.end(), [](char c) {
           return IsLower(c) || IsDigit(c) || c == '.';
         });
}

std::optional<ImageReference> ParseImageReference(std::string_view text) {
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || text.size() > 512) return std::nullopt;
  std::string_view name = text.substr(0, colon);
  std::string_view tag = text.substr(colon + 1);
  auto tag_char = [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; };
  if (tag.empty() || tag.size() > 128 || tag.front() == '.' || tag.front() == '-' ||
      !std::all_of(tag.begin(), tag.end(), tag_char))
    return std::nullopt;
  for (bool first = true;; first = false) {
    size_t slash = name.find('/');
    std::string_view part = name.substr(0, slash);
    if (first && slash != std::string_view::npos) {  // a registry's host may have a port
      size_t port = part.find(':');
      if (port != std::string_view::npos) {
        std::string_view digits = part.substr(port + 1);
        if (digits.empty() || digits.size() > 5 ||
            !std::all_of(digits.begin(), digits.end(), IsDigit))
          return std::nullopt;
        part = part.substr(0, port);
      }
    }
    if (!IsImagePart(part)) return std::nullopt;
    if (slash == std::string_view::npos) break;
    name.remove_prefix(slash + 1);
  }
  return ImageReference{std::string(text.substr(0, colon)), std::string(tag)};
}

std::optional<uint64_t> ParseByteSize(std::string_view text) {
  int shift = 0;
  // As docker does: "512M", "512MB", "512Mi" and "512MiB" are one size.
  if (text.size() > 1 && (text.back() | 0x20) == 'b') text.remove_suffix(1);
  if (text.size() > 2 && (text.back() | 0x20) == 'i' && !IsDigit(text[text.size() - 2]))
    text.remove_suffix(1);
  if (!text.empty() && !IsDigit(text.back())) {
    switch (text.back() | 0x20) {
      case 'k':
        shift = 10;
        break;
      case 'm':
        shift = 20;
        break;
      case 'g':
        shift = 30;
        break;
      case 't':
        shift = 40;
        break;
      default:
        return std::nullopt;
    }
    text.remove_suffix(1);
  }
  auto number = ParsePlainNumber(text);
  if (!number) return std::nullopt;
  double bytes = std::ldexp(*number, shift);
  if (!(bytes <= 0x1p62)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  double value = static_cast<double>(bytes);
  for (; value >= 1024 && unit < 4; ++unit) value /= 1024;
  char text[32];
  snprintf(text, sizeof text, value < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", value, kUnits[unit]);
  return text;
}

std::string HumanCpus(uint64_t milli) {
  char text[32];
  snprintf(text, sizeof text, "%.6g", static_cast<double>(milli) / 1000);
  return text;
}

std::optional<uint64_t> ParseMilliCpus(std::string_view text) {
  auto number = ParsePlainNumber(text);
  if (!number || !(*number * 1000 <= 0x1p31)) return std::nullopt;
  return static_cast<uint64_t>(std::llround(*number * 1000));
}

std::optional<int64_t> ParseDate(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  int parts[3];
  constexpr size_t kAt[3] = {0, 5, 8};
  constexpr size_t kLength[3] = {4, 2, 2};
  for (int i = 0; i < 3; ++i) {
    std::string_view digits = text.substr(kAt[i], kLength[i]);
    if (!std::all_of(digits.begin(), digits.end(), IsDigit)) return std::nullopt;
    std::from_chars(digits.data(), digits.data() + digits.size(), parts[i]);
  }
  std::tm date{};
  date.tm_year = parts[0] - 1900;
  date.tm_mon = parts[1] - 1;
  date.tm_mday = parts[2];
  const time_t seconds = ::timegm(&date);
  // timegm moves 31 February to March; a date that is none is an error, not another date.
  if (date.tm_year != parts[0] - 1900 || date.tm_mon != parts[1] - 1 || date.tm_mday != parts[2])
    return std::nullopt;
  if (parts[0] < 1970 || parts[0] > 2200) return std::nullopt;
  return static_cast<int64_t>(seconds) * 1'000'000'000;
}

}  // namespace carrel
