#include "job/line_splitter.h"

#include <algorithm>

namespace carrel {
namespace {

// The bytes at the end of `text` that could be the start of a longer UTF-8 sequence.
size_t UnfinishedBytes(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

}  // namespace

Result<void> LineSplitter::Pass(std::string_view line, const Take& take) const {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return take(line, ns_);
}

Result<void> LineSplitter::Write(std::string_view bytes, int64_t ns, const Take& take) {
  while (!bytes.empty()) {
    if (text_.empty()) ns_ = ns;
    const size_t room = kMaxLine - text_.size();
    const size_t count = std::min({bytes.find('\n'), room, bytes.size()});
    text_ += bytes.substr(0, count);
    bytes.remove_prefix(count);
    if (bytes.starts_with('\n')) {
      bytes.remove_prefix(1);
      Result<void> passed = Pass(text_, take);
      text_.clear();
      CARREL_TRY(passed);
    } else if (text_.size() == kMaxLine) {
      const size_t keep = kMaxLine - UnfinishedBytes(text_);
      const Result<void> passed = Pass(std::string_view(text_).substr(0, keep), take);
      text_.erase(0, keep);
      CARREL_TRY(passed);
    }
  }
  return {};
}

Result<void> LineSplitter::Finish(const Take& take) {
  if (text_.empty()) return {};
  Result<void> passed = Pass(text_, take);
  text_.clear();
  return passed;
}

}  // namespace carrel
