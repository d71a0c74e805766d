// Proofs about the public log, as JSON that stands by itself: what `carrel audit prove` prints and
// `carrel audit verify --public FILE` checks.
#pragma once

#include <string>

#include "audit/public_log.h"

namespace carrel {

/// That record `index` is in the log: the record, its audit path, and the signed head.
OrderedJson ProveInclusion(const PublicLog& log, uint64_t index);

/// That the log of the first `old_size` records is the beginning of this one. kBadInput when there
/// were never so many.
Result<OrderedJson> ProveConsistency(const PublicLog& log, uint64_t old_size);

struct ProofVerdict {
  LogFinding finding = LogFinding::kAltered;  ///< kWhole, kAltered or kUnknownKey
  std::string what;                           ///< a sentence: what is proven, or what is wrong
};

/// Checks the proof and the signature of the head in it. kBadInput for what is no proof.
Result<ProofVerdict> CheckProof(const std::string& state_dir, const Json& proof);

/// Is the log that `older` (a head) was signed over the beginning of `log`?
bool IsBeginningOf(const TreeHead& older, const PublicLog& log);

}  // namespace carrel
