#include "audit/block_filter.h"

#include <algorithm>

namespace carrel {
namespace {

constexpr uint64_t kBasis = 0xcbf29ce484222325u;
constexpr size_t kBitsPerKey = 10;
// Threat: paths of two thousand directories each. Their block has no filter.
constexpr size_t kMaxKeys = 128u << 10;
constexpr uint32_t kProbes = 6;

uint64_t Step(uint64_t hash, char byte) {
  return (hash ^ static_cast<uint8_t>(byte)) * 0x100000001b3u;  // FNV-1a
}

uint64_t HashName(char kind, std::string_view text) {
  uint64_t hash = Step(kBasis, kind);
  for (char byte : text) hash = Step(hash, byte);
  return hash;
}

uint64_t TaskHash(uint32_t id) {
  uint64_t hash = Step(kBasis, 't');
  for (int i = 0; i < 4; ++i) hash = Step(hash, static_cast<char>(id >> (8 * i)));
  return hash;
}

template <typename Visit>
void EachBit(uint64_t hash, size_t bits, Visit visit) {
  const uint64_t step = (hash >> 32) | 1;
  for (uint64_t i = 0, at = hash & 0xffffffffu; i < kProbes; ++i, at += step) visit(at % bits);
}

// A block without a filter may hold anything.
bool Has(std::string_view filter, uint64_t hash) {
  bool all = true;
  if (filter.empty()) return true;
  EachBit(hash, filter.size() * 8, [&](size_t bit) {
    all = all && (static_cast<uint8_t>(filter[bit / 8]) >> (bit % 8) & 1) != 0;
  });
  return all;
}

}  // namespace

void BlockFilter::Add(uint64_t hash) {
  uint64_t& recent = recent_[(hash >> 20) % kRecent];
  if (recent == hash) return;
  recent = hash;
  if (hashes_.size() >= kMaxKeys) MakeRoom();
  if (!overflowed_) hashes_.push_back(hash);
}

void BlockFilter::MakeRoom() {
  std::sort(hashes_.begin(), hashes_.end());
  hashes_.erase(std::unique(hashes_.begin(), hashes_.end()), hashes_.end());
  if (hashes_.size() < kMaxKeys / 2) return;
  overflowed_ = true;
  hashes_.clear();
}

void BlockFilter::AddPath(std::string_view path) {
  uint64_t hash = Step(kBasis, 'd');
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '/' && i > 0) Add(hash);
    hash = Step(hash, path[i]);
  }
}

void BlockFilter::AddTask(uint32_t id) { Add(TaskHash(id)); }
void BlockFilter::AddComm(std::string_view comm) { Add(HashName('c', comm)); }
void BlockFilter::AddAddress() { Add(HashName('a', "")); }

std::string BlockFilter::Bytes() const {
  if (overflowed_) return "";
  std::vector<uint64_t> keys = hashes_;
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  std::string bytes((keys.size() * kBitsPerKey + 7) / 8, '\0');
  for (uint64_t key : keys)
    EachBit(key, bytes.size() * 8, [&](size_t bit) {
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] | 1 << (bit % 8));
    });
  return bytes;
}

void BlockFilter::Reset() {
  hashes_.clear();
  overflowed_ = false;
  recent_.fill(0);
}

bool FilterMayHavePath(std::string_view filter, std::string_view prefix) {
  const size_t slash = prefix.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return true;
  return Has(filter, HashName('d', prefix.substr(0, slash)));
}

bool FilterMayHaveTask(std::string_view filter, uint32_t id) { return Has(filter, TaskHash(id)); }

bool FilterMayHaveComm(std::string_view filter, std::string_view comm) {
  return Has(filter, HashName('c', comm));
}

bool FilterMayHaveAddress(std::string_view filter) { return Has(filter, HashName('a', "")); }

}  // namespace carrel
