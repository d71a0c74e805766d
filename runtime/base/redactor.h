// Takes secrets out of what is about to be written down, in whatever spelling a program may have
// given them: a credential that has to be inside, in a URL, turns up in arguments and paths.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace carrel {

class Redactor {
 public:
  /// Looks for each of `secrets`, with every byte as it is, percent-encoded (once or twice, in
  /// either case of hexadecimal digits), behind a backslash, or, where it is a space, as '+'; in
  /// any mixture.
  explicit Redactor(std::vector<std::string> secrets) : secrets_(std::move(secrets)) {}
  ~Redactor();
  Redactor(const Redactor&) = delete;
  Redactor& operator=(const Redactor&) = delete;

  /// Overwrites them with '*', byte for byte. `cut`: the text may have been longer; an end that
  /// could be a secret's beginning of four bytes or more goes too.
  void Overwrite(char* text, size_t size, bool cut = false) const;
  std::string Redacted(std::string_view text) const;

 private:
  std::vector<std::string> secrets_;
};

}  // namespace carrel
