// The frame of a block: header, columns and hashes. FORMAT.md describes every byte.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "audit/bytes.h"
#include "base/result.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace carrel {

using Hash = std::array<uint8_t, 32>;
std::string HexOf(const Hash& hash);

enum class BlockKind : uint8_t {
  kStart = 0,   ///< JSON: job, clocks, versions
  kEvents = 1,  ///< columns
  kSeal = 2,    ///< JSON and signature
};

/// Columns of an event block. Each has one kind of values, so that it compresses well and so that a
/// query decompresses only what it looks at.
enum Column : uint8_t {
  kColKind = 0,
  kColTask,
  kColNr,
  kColStart,
  kColDuration,
  kColMask,
  kColRecent,
  kColArg0,
  kColArg5 = kColArg0 + 5,
  kColResult,
  kColFlags,
  kColData,
  kColFile,
  kColStrings,
  kColOther,
  kColTasks,
  kColumns,
};

/// Times are kept in units of this many nanoseconds: the bits below are noise, which no compressor
/// takes out.
inline constexpr int64_t kTimeUnit = 256;

/// The version in a log's first block.
inline constexpr uint64_t kLogFormat = 2;

inline constexpr uint32_t kBlockMagic = 0x314b4c42;  // "BLK1"
inline constexpr size_t kMaxBlockBytes = 64u << 20;
inline constexpr size_t kFixedHeader = 88;

/// What a block says of itself before its columns: enough to pass it over.
struct BlockHeader {
  BlockKind kind = BlockKind::kStart;
  uint64_t index = 0;
  Hash previous{};
  uint32_t rows = 0;
  uint32_t calls = 0;
  uint32_t denied = 0;
  uint32_t failed = 0;  ///< calls that returned an error, the denied ones among them
  int64_t first_ns = 0;
  int64_t last_ns = 0;
  std::vector<uint32_t> numbers;  ///< of the calls in it, sorted
  std::string filter;             ///< see block_filter.h
  struct Stored {
    uint8_t id = 0;
    uint8_t codec = 0;  ///< 0: as it is; 1: zstd
    uint32_t raw = 0;
    uint32_t stored = 0;
  };
  std::vector<Stored> columns;
  size_t header_bytes = 0;
  size_t payload_bytes = 0;
};

/// Compresses columns; keeps its zstd context, which is made on first need.
class BlockWriter {
 public:
  BlockWriter() = default;
  BlockWriter(const BlockWriter&) = delete;
  BlockWriter& operator=(const BlockWriter&) = delete;
  ~BlockWriter();

  /// The bytes of a block with these columns (`header.columns` is ignored), and its hash.
  Result<std::string_view> Write(const BlockHeader& header,
                                 const std::vector<std::pair<uint8_t, std::string_view>>& columns,
                                 Hash* hash);

 private:
  ZSTD_CCtx_s* context_ = nullptr;
  ByteWriter block_;
  ByteWriter payload_;
};

/// Bytes of the header that begins so, or 0 when no block begins there. Needs 12 bytes.
size_t BlockHeaderBytes(std::string_view bytes);

/// Decodes a header from the start of `bytes`; an error says what is wrong with it.
Result<BlockHeader> ReadBlockHeader(std::string_view bytes);

/// Decompresses column `id` of a block's payload into `out`; an absent column is empty.
Result<void> ReadColumn(const BlockHeader& header, std::string_view payload, uint8_t id,
                        std::string& out);

Hash HashBytes(std::string_view bytes);

}  // namespace carrel
