// Tables that hide in base64 (declared in level4_text.h).
#include <algorithm>
#include <array>

#include "job/level4_text.h"
#include "job/utf8.h"

namespace carrel {
namespace {

// Shorter runs are words, digests and identifiers. A run goes on over a newline only after a line
// that is as long as encoders make them.
constexpr size_t kLeastRun = 64;
constexpr size_t kLeastLine = 40;

int Base64Value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

// Decodes as it goes; what it holds is at most three quarters of the text.
class Run {
 public:
  void Add(int value) {
    bits_ = bits_ << 6 | static_cast<uint32_t>(value);
    ++length_;
    pending_ += 6;
    if (pending_ < 8) return;
    pending_ -= 8;
    decoded_ += static_cast<char>(bits_ >> pending_ & 0xff);
  }
  void Clear() { *this = Run(); }
  size_t length() const { return length_; }

  Refusal Check(int64_t max_rows) const {
    static constexpr std::array<std::string_view, 7> kPacked = {"\x1f\x8b\x08",
                                                                "\x28\xb5\x2f\xfd",
                                                                "PK\x03\x04",
                                                                "\xfd"
                                                                "7zXZ",
                                                                "BZh9",
                                                                "PAR1",
                                                                "ARROW1"};
    if (length_ < kLeastRun) return std::nullopt;
    for (std::string_view magic : kPacked)
      if (decoded_.starts_with(magic))
        return "It holds compressed data in base64, which cannot be checked";
    // Whole lines of text, as far as it is text: prose may follow in the same run.
    const std::string_view body = std::string_view(decoded_).substr(0, TextBytes());
    const size_t newline = body.find_last_of("\r\n");
    if (newline == std::string_view::npos) return std::nullopt;
    return CheckTables(body.substr(0, newline + 1), max_rows, true);
  }

 private:
  size_t TextBytes() const {
    std::string_view rest = decoded_;
    while (!rest.empty()) {
      const CodePoint point = FirstCodePoint(rest);
      if (point.bytes == 0 || point.value == 0) break;
      rest.remove_prefix(point.bytes);
    }
    return decoded_.size() - rest.size();
  }

  std::string decoded_;
  uint32_t bits_ = 0;
  int pending_ = 0;
  size_t length_ = 0;
};

}  // namespace

Refusal CheckEmbedded(std::string_view text, int64_t max_rows) {
  Run run;
  size_t line = 0;  // base64 characters since the last newline
  for (char c : text) {
    const int value = Base64Value(c);
    if (value >= 0) {
      run.Add(value);
      ++line;
      continue;
    }
    const bool wrapped = (c == '\n' || c == '\r') && (line >= kLeastLine || line == 0);
    line = 0;
    if (wrapped) continue;
    if (auto refusal = run.Check(max_rows)) return refusal;
    run.Clear();
  }
  return run.Check(max_rows);
}

}  // namespace carrel
