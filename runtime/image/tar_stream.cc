#include "image/tar_stream.h"

#include <unistd.h>

#include <cstring>

namespace carrel {
namespace {

constexpr size_t kBuffer = 1u << 18;

}  // namespace

Result<Compression> DetectCompression(int fd) {
  unsigned char magic[4] = {};
  const off_t here = ::lseek(fd, 0, SEEK_CUR);
  if (here < 0) return SysFault("", "lseek");
  if (::pread(fd, magic, sizeof magic, here) < 0) return SysFault("", "read");
  if (magic[0] == 0x1f && magic[1] == 0x8b) return Compression::kGzip;
  if (memcmp(magic, "\x28\xb5\x2f\xfd", 4) == 0) return Compression::kZstd;
  return Compression::kNone;
}

Error TarStream::ArchiveError(archive* a, const std::string& what) {
  if (pull_failed_) return pull_error_;
  const char* text = archive_error_string(a);
  const int code = archive_errno(a);
  if (code == ENOMEM) return Fault(where_, what + ": out of memory");
  return BadInput(where_, what + ": " + (text != nullptr ? text : "unknown error"),
                  "The file is damaged, or no tar of the kind that it says");
}

Result<void> TarStream::OpenFilter(Compression compression) {
  if (compression == Compression::kNone) return {};
  filter_.reset(archive_read_new());
  if (!filter_) return Fault(where_, "out of memory");
  // Only the one that the media type names. (archive_read_append_filter would say so shorter, but
  // brings in filters that run programs.)
  const bool gzip = compression == Compression::kGzip;
  if (archive_read_support_format_raw(filter_.get()) != ARCHIVE_OK ||
      (gzip ? archive_read_support_filter_gzip(filter_.get())
            : archive_read_support_filter_zstd(filter_.get())) != ARCHIVE_OK ||
      archive_read_open_fd(filter_.get(), fd_, kBuffer) != ARCHIVE_OK)
    return ArchiveError(filter_.get(), "cannot decompress");
  // libarchive unpacks as often as it finds the magic: once is what others do. The last of the
  // filters is the file itself.
  if (archive_filter_count(filter_.get()) != 2 ||
      archive_filter_code(filter_.get(), 0) != (gzip ? ARCHIVE_FILTER_GZIP : ARCHIVE_FILTER_ZSTD))
    return BadInput(where_, std::string("is not ") + (gzip ? "gzip" : "zstd") +
                                ", or is compressed more than once");
  archive_entry* entry = nullptr;
  if (archive_read_next_header(filter_.get(), &entry) != ARCHIVE_OK)
    return ArchiveError(filter_.get(), "cannot decompress");
  return {};
}

Result<std::unique_ptr<TarStream>> TarStream::Open(int fd, Compression compression,
                                                   uint64_t max_bytes, std::string where) {
  std::unique_ptr<TarStream> stream(new TarStream(fd, max_bytes, std::move(where)));
  CARREL_TRY(stream->OpenFilter(compression));
  if (compression == Compression::kNone) stream->buffer_.resize(kBuffer);
  stream->tar_.reset(archive_read_new());
  archive* tar = stream->tar_.get();
  if (tar == nullptr) return Fault(stream->where_, "out of memory");
  archive_read_support_format_tar(tar);
  archive_read_support_format_empty(tar);
  if (archive_read_open2(tar, stream.get(), nullptr, &ReadCallback, nullptr, nullptr) != ARCHIVE_OK)
    return stream->ArchiveError(tar, "cannot be read as a tar");
  return stream;
}

Result<std::string_view> TarStream::PullRaw() {
  if (filter_) {
    const void* data = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    const int status = archive_read_data_block(filter_.get(), &data, &size, &offset);
    if (status == ARCHIVE_EOF) return std::string_view();
    if (status != ARCHIVE_OK) return ArchiveError(filter_.get(), "cannot decompress");
    return std::string_view(static_cast<const char*>(data), size);
  }
  for (;;) {
    const ssize_t n = ::read(fd_, buffer_.data(), buffer_.size());
    if (n >= 0) return std::string_view(buffer_.data(), static_cast<size_t>(n));
    if (errno != EINTR) return SysFault(where_, "read");
  }
}

Result<std::string_view> TarStream::Pull() {
  CARREL_ASSIGN(std::string_view data, PullRaw());
  if (data.size() > left_)
    return BadInput(where_, "unpacks to more than " + std::to_string(max_bytes_) + " bytes",
                    "A decompression bomb, or the limit of bytes is too low for it");
  left_ -= data.size();
  hash_.Update(data);
  return data;
}

la_ssize_t TarStream::ReadCallback(archive* a, void* self, const void** buffer) {
  auto* stream = static_cast<TarStream*>(self);
  auto data = stream->Pull();
  if (!data) {
    stream->pull_failed_ = true;
    stream->pull_error_ = data.error();
    archive_set_error(a, EIO, "input failed");
    return ARCHIVE_FATAL;
  }
  *buffer = data->data();
  return static_cast<la_ssize_t>(data->size());
}

Result<archive_entry*> TarStream::Next() {
  archive_entry* entry = nullptr;
  const int status = archive_read_next_header(tar_.get(), &entry);
  if (status == ARCHIVE_EOF) return nullptr;
  if (status == ARCHIVE_OK) return entry;
  // In the "C" locale libarchive warns of every name that is not ASCII, and hands over its bytes:
  // what is wanted. Any other warning means that something of the entry was dropped.
  const char* text = archive_error_string(tar_.get());
  if (status == ARCHIVE_WARN && text != nullptr && strstr(text, "can't be converted from"))
    return entry;
  return ArchiveError(tar_.get(), "bad tar header");
}

Result<TarStream::Block> TarStream::ReadBlock() {
  const void* data = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  const int status = archive_read_data_block(tar_.get(), &data, &size, &offset);
  if (status == ARCHIVE_EOF) return Block{{}, static_cast<uint64_t>(offset), true};
  if (status != ARCHIVE_OK) return ArchiveError(tar_.get(), "bad tar content");
  return Block{{static_cast<const char*>(data), size}, static_cast<uint64_t>(offset), false};
}

Result<std::string> TarStream::Finish() {
  for (;;) {
    CARREL_ASSIGN(std::string_view data, Pull());
    if (data.empty()) return hash_.HexFinal();
  }
}

}  // namespace carrel
