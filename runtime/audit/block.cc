#define OPENSSL_SUPPRESS_DEPRECATED
#include "audit/block.h"

#include <openssl/sha.h>
#include <zstd.h>

namespace carrel {
namespace {

constexpr int kLevel = 1;
// Below this a zstd context costs more (time at the start of every job, memory) than it saves.
constexpr size_t kTooSmallToCompress = 400;
constexpr size_t kMaxColumn = 64u << 20;

Error Broken(const std::string& what) { return Fault("audit log", what); }

// Decoding contexts are kept: a reader opens thousands of columns.
struct DecoderDeleter {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

std::string HexOf(const Hash& hash) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (uint8_t byte : hash) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

Hash HashBytes(std::string_view bytes) {
  // Not SHA256(): in OpenSSL 3 that goes through a provider, whose start costs a millisecond.
  Hash hash;
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, bytes.data(), bytes.size());
  SHA256_Final(hash.data(), &context);
  return hash;
}

BlockWriter::~BlockWriter() { ZSTD_freeCCtx(context_); }

Result<std::string_view> BlockWriter::Write(
    const BlockHeader& header, const std::vector<std::pair<uint8_t, std::string_view>>& columns,
    Hash* hash) {
  payload_.Clear();
  ByteWriter directory;
  std::string packed;
  uint8_t count = 0;
  for (const auto& [id, raw] : columns) {
    if (raw.empty()) continue;
    uint8_t codec = 0;
    std::string_view stored = raw;
    // What is not events is kept plain, so that its bytes are fixed by its content.
    if (header.kind == BlockKind::kEvents && raw.size() >= kTooSmallToCompress) {
      if (context_ == nullptr) context_ = ZSTD_createCCtx();
      if (context_ == nullptr) return SysFault("audit", "make a zstd context", ENOMEM);
      packed.resize(ZSTD_compressBound(raw.size()));
      size_t n =
          ZSTD_compressCCtx(context_, packed.data(), packed.size(), raw.data(), raw.size(), kLevel);
      if (ZSTD_isError(n)) return Fault("audit", std::string("zstd: ") + ZSTD_getErrorName(n));
      if (n < raw.size()) {
        codec = 1;
        stored = {packed.data(), n};
      }
    }
    directory.Byte(id);
    directory.Byte(codec);
    directory.Fixed(raw.size(), 4);
    directory.Fixed(stored.size(), 4);
    payload_.Bytes(stored);
    ++count;
  }
  ByteWriter numbers;
  numbers.Varint(header.numbers.size());
  uint32_t previous = 0;
  for (uint32_t nr : header.numbers) {
    numbers.Varint(nr - previous);
    previous = nr;
  }
  numbers.Text(header.filter);
  const size_t header_bytes = kFixedHeader + numbers.size() + directory.size();

  block_.Clear();
  block_.Fixed(kBlockMagic, 4);
  block_.Fixed(header_bytes, 4);
  block_.Fixed(payload_.size(), 4);
  block_.Byte(static_cast<uint8_t>(header.kind));
  block_.Byte(count);
  block_.Fixed(0, 2);
  block_.Fixed(header.index, 8);
  block_.Bytes({reinterpret_cast<const char*>(header.previous.data()), header.previous.size()});
  block_.Fixed(header.rows, 4);
  block_.Fixed(header.calls, 4);
  block_.Fixed(header.denied, 4);
  block_.Fixed(header.failed, 4);
  block_.Fixed(static_cast<uint64_t>(header.first_ns), 8);
  block_.Fixed(static_cast<uint64_t>(header.last_ns), 8);
  block_.Bytes(numbers.view());
  block_.Bytes(directory.view());
  block_.Bytes(payload_.view());
  *hash = HashBytes(block_.view());
  return block_.view();
}

size_t BlockHeaderBytes(std::string_view bytes) {
  if (bytes.size() < 12) return 0;
  ByteReader in(bytes);
  return in.Fixed(4) == kBlockMagic ? in.Fixed(4) : 0;
}

Result<BlockHeader> ReadBlockHeader(std::string_view bytes) {
  if (bytes.size() < kFixedHeader) return Broken("the file ends inside a block's header");
  BlockHeader header;
  ByteReader in(bytes);
  if (in.Fixed(4) != kBlockMagic) return Broken("no block begins where one should");
  header.header_bytes = in.Fixed(4);
  header.payload_bytes = in.Fixed(4);
  const uint8_t kind = in.Byte();
  const uint8_t columns = in.Byte();
  const bool reserved_is_zero = in.Fixed(2) == 0;
  if (kind > 2 || columns > 32 || !reserved_is_zero) return Broken("a block's header is not valid");
  header.kind = static_cast<BlockKind>(kind);
  header.index = in.Fixed(8);
  std::string_view previous = in.Bytes(32);
  std::memcpy(header.previous.data(), previous.data(), 32);
  header.rows = static_cast<uint32_t>(in.Fixed(4));
  header.calls = static_cast<uint32_t>(in.Fixed(4));
  header.denied = static_cast<uint32_t>(in.Fixed(4));
  header.failed = static_cast<uint32_t>(in.Fixed(4));
  header.first_ns = static_cast<int64_t>(in.Fixed(8));
  header.last_ns = static_cast<int64_t>(in.Fixed(8));
  if (header.header_bytes < kFixedHeader || header.header_bytes > (1u << 20) ||
      header.payload_bytes > kMaxBlockBytes)
    return Broken("a block's sizes are not valid");
  if (bytes.size() < header.header_bytes) return Broken("the file ends inside a block's header");

  in = ByteReader(bytes.substr(kFixedHeader, header.header_bytes - kFixedHeader));
  const uint64_t numbers = in.Varint();
  if (numbers > in.left()) return Broken("a block's list of syscalls is not valid");
  uint32_t nr = 0;
  for (uint64_t i = 0; i < numbers; ++i)
    header.numbers.push_back(nr += static_cast<uint32_t>(in.Varint()));
  header.filter = in.Text();
  size_t total = 0;
  for (int i = 0; i < columns; ++i) {
    BlockHeader::Stored column;
    column.id = in.Byte();
    column.codec = in.Byte();
    column.raw = static_cast<uint32_t>(in.Fixed(4));
    column.stored = static_cast<uint32_t>(in.Fixed(4));
    if (column.codec > 1 || column.raw > kMaxColumn) return Broken("a column is not valid");
    total += column.stored;
    header.columns.push_back(column);
  }
  if (!in.ok() || !in.at_end() || total != header.payload_bytes)
    return Broken("a block's directory is not valid");
  return header;
}

Result<void> ReadColumn(const BlockHeader& header, std::string_view payload, uint8_t id,
                        std::string& out) {
  out.clear();
  size_t offset = 0;
  for (const auto& column : header.columns) {
    if (offset + column.stored > payload.size()) return Broken("a column ends outside its block");
    std::string_view stored = payload.substr(offset, column.stored);
    offset += column.stored;
    if (column.id != id) continue;
    if (column.codec == 0) {
      if (column.raw != column.stored) return Broken("a column's sizes do not agree");
      out = stored;
      return {};
    }
    // The frame knows its size: memory is not asked for on the word of the directory alone.
    if (ZSTD_getFrameContentSize(stored.data(), stored.size()) != column.raw)
      return Broken("a column's sizes do not agree");
    static thread_local std::unique_ptr<ZSTD_DCtx, DecoderDeleter> context(ZSTD_createDCtx());
    out.resize(column.raw);
    size_t n =
        ZSTD_decompressDCtx(context.get(), out.data(), out.size(), stored.data(), stored.size());
    if (ZSTD_isError(n) || n != column.raw) return Broken("a column does not decompress");
    return {};
  }
  return {};
}

}  // namespace carrel
