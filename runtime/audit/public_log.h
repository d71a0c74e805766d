// The public record: one JSON line a job in `<state>/public/log.jsonl`, under a Merkle tree whose
// signed head is `<state>/public/tree.json`. Nothing in it may disclose: every member is either a
// value of a closed form that the action has no hand in, or made coarse.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "audit/event_source.h"
#include "audit/merkle.h"
#include "audit/verify.h"
#include "base/json.h"
#include "base/result.h"

namespace carrel {

/// How a job ended. Not its exit status: eight bits that an action can choose.
enum class PublicOutcome { kSucceeded, kFailed, kKilled, kRefused, kFault };

/// What is told about a job. Values that do not have the form named are left out, and the record's
/// `withheld` names the member.
struct PublicJob {
  std::string job;           ///< the agent's id: letters, digits, ".", "_", "-"; at most 64
  std::string repository;    ///< https URL without user, port or query; else withheld
  std::string commit;        ///< 40 or 64 hexadecimal digits
  std::string image_digest;  ///< "sha256:..."
  std::string tool;     ///< lower-case letters, digits, "-", "_": of the policy, not of the job
  std::string project;  ///< letters, digits, "-"
  std::string policy_digest;  ///< "sha256:..." or 64 digits
  std::string policy_commit;  ///< as `commit`; "+changes" after it is published as a member
  std::string seccomp_digest;
  std::string database;                  ///< name of the database granted; empty: none
  bool includes_opted_out = false;       ///< type-one opt-outs
  std::vector<std::string> permissions;  ///< of the policy's own names
  int64_t started_ns = 0;                ///< published to the minute
  int64_t ended_ns = 0;
  PublicOutcome outcome = PublicOutcome::kFault;
  EventCounts counts;       ///< published to one significant digit: an action can choose the rest
  uint64_t statements = 0;  ///< at the database, likewise; published when there is one
  std::string head;         ///< AuditSeal::head of the private log
};

/// The JSON of a record, as it is published (one line, without the newline).
std::string PublicRecordText(const PublicJob& job);

/// The tree's head as it is signed.
struct TreeHead {
  Frontier frontier;
  uint64_t bytes = 0;  ///< of log.jsonl, under this head
  std::string text;    ///< what was signed: JSON
  std::string key_id;
  std::string signature;
};

/// Appends and signs the new head. Safe among processes, and after a crash at any point.
/// Returns the record's index.
Result<uint64_t> AppendPublicRecord(const std::string& state_dir, const PublicJob& job);

/// A public log, checked against its head.
struct PublicLog {
  std::vector<std::string> records;
  std::vector<Hash> leaves;
  TreeHead head;
  uint64_t unsigned_bytes = 0;  ///< of the file, after what the head covers
};

/// Reads a head (the text of a tree.json) and checks its signature. `*finding` says what is wrong
/// when it is not good: kAltered or kUnknownKey.
Result<TreeHead> ParseHead(const std::string& state_dir, const std::string& text,
                           LogFinding* finding);

/// Reads and checks the log in `directory` (`<state>/public`, or a copy of it): content against
/// root, head against signature. An error says what does not hold. The key must be in
/// `<state>/keys`: one that came with the log would prove nothing.
/// `*finding`, where asked for, says which kind of fault it is.
Result<PublicLog> ReadPublicLog(const std::string& state_dir, const std::string& directory,
                                LogFinding* finding = nullptr);

/// The index of the last record of `job`.
std::optional<uint64_t> FindPublicRecord(const PublicLog& log, const std::string& job);

}  // namespace carrel
