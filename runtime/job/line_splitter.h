// What a process writes, in lines, as the pipe delivers it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace carrel {

class LineSplitter {
 public:
  /// A longer line is broken into several, but never within a UTF-8 sequence.
  static constexpr size_t kMaxLine = 16u << 10;

  /// Gets a line without its "\n" or "\r\n", and when its first byte came.
  using Take = std::function<Result<void>(std::string_view line, int64_t ns)>;

  /// Takes bytes that came at `ns`, and hands on the lines that are whole. Memory: kMaxLine.
  Result<void> Write(std::string_view bytes, int64_t ns, const Take& take);

  /// Hands on the unfinished line, if there is one.
  Result<void> Finish(const Take& take);

  /// When the first byte of the unfinished line came.
  int64_t ns() const { return ns_; }

 private:
  Result<void> Pass(std::string_view line, const Take& take) const;

  std::string text_;
  int64_t ns_ = 0;
};

}  // namespace carrel
