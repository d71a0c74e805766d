// The level 4 checks read what the action chose to write. The first byte chooses the type.
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>

#include "base/fs.h"
#include "job/level4_checks.h"

namespace {

// The checksums of a PNG's chunks made right: no mutation would find them.
void MendPng(std::string& png) {
  for (size_t at = 8; at + 12 <= png.size();) {
    const auto* bytes = reinterpret_cast<const Bytef*>(png.data()) + at;
    const size_t length = size_t{bytes[0]} << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
    if (length > png.size() - at - 12) return;
    const uint32_t sum =
        static_cast<uint32_t>(::crc32(0, bytes + 4, static_cast<uInt>(4 + length)));
    for (size_t i = 0; i < 4; ++i)
      png[at + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const carrel::Level4Rules rules = [] {
    carrel::Level4Rules small;
    small.max_csv_rows = 20;
    small.max_filesize = 1u << 16;
    return small;
  }();
  const std::string type = rules.file_types[data[0] % rules.file_types.size()];
  const carrel::UniqueFd fd(::memfd_create("fuzz", MFD_CLOEXEC));
  std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (type == ".png") MendPng(text);
  if (!carrel::WriteAll(fd.get(), text)) abort();
  auto verdict = carrel::CheckLevel4(fd.get(), "x" + type, rules);
  if (!verdict) abort();
  // What passes as text is text.
  const bool is_text = type == ".csv" || type == ".txt" || type == ".log" || type == ".json";
  if (is_text && !verdict->refusal && text.find('\0') != std::string::npos) abort();
  return 0;
}
