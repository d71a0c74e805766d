#include "audit/verify.h"

#include "audit/host_key.h"

namespace carrel {
namespace {

// The seal of a log that is whole by itself.
Result<void> JudgeSeal(const std::string& state_dir, const LogReader& log, LogVerdict& verdict) {
  const SealInfo& seal = log.seal();
  if (seal.counts.events != verdict.events || seal.counts.denied != verdict.denied) {
    verdict.finding = LogFinding::kAltered;
    verdict.why = "the seal counts other events than the log holds";
    return {};
  }
  CARREL_ASSIGN(SignatureCheck check,
                CheckSignature(state_dir, seal.text, {seal.key_id, seal.signature}));
  if (check == SignatureCheck::kBad) {
    verdict.finding = LogFinding::kAltered;
    verdict.why = "the signature of the seal is not good";
  } else if (check == SignatureCheck::kUnknownKey) {
    verdict.finding = LogFinding::kUnknownKey;
    verdict.why = "it is sealed with key " + seal.key_id + ", which is not in keys/";
  } else if (seal.counts.lost != 0) {
    verdict.finding = LogFinding::kIncomplete;
    verdict.why = seal.interrupted
                      ? "carrel was killed over it, and what it had not yet written is lost"
                      : std::to_string(seal.counts.lost) + " events were lost, the seal says";
  } else {
    verdict.finding = LogFinding::kWhole;
    if (seal.interrupted)
      verdict.why = "carrel was killed over it; the rest was recovered from the kernel's ring";
  }
  return {};
}

void JudgeUnsealed(const LogReader& log, LogVerdict& verdict) {
  const LogStanding standing = log.Standing();
  verdict.finding =
      standing == LogStanding::kCutOff ? LogFinding::kTruncated : LogFinding::kUnsealed;
  verdict.why = StandingText(standing);
  if (standing == LogStanding::kCutOff && !log.why().empty()) verdict.why += "; " + log.why();
}

}  // namespace

const char* FindingName(LogFinding finding) {
  static constexpr const char* kNames[] = {"whole",       "unsealed",   "truncated", "altered",
                                           "unknown key", "incomplete", "missing"};
  return kNames[static_cast<size_t>(finding)];
}

int FindingStatus(LogFinding finding) {
  // 2, 3 and 70 are taken: see ErrorKind.
  static constexpr int kStatus[] = {0, 5, 4, 1, 6, 7, 8};
  return kStatus[static_cast<size_t>(finding)];
}

Result<LogVerdict> VerifyLog(const std::string& state_dir, const std::string& path,
                             const std::string& job) {
  CARREL_ASSIGN(LogReader log, LogReader::Open(path));
  LogVerdict verdict;
  auto altered = [&](std::string why) {
    verdict.finding = LogFinding::kAltered;
    verdict.why = std::move(why);
    return verdict;
  };
  AuditEvent event;
  for (;;) {
    CARREL_ASSIGN(bool more, log.NextBlock());
    if (!more) break;
    uint32_t calls = 0, denied = 0;
    for (;;) {
      auto row = log.NextEvent(event);
      if (!row)
        return altered("block " + std::to_string(log.blocks() - 1) + ": " + row.error().what);
      if (!*row) break;
      if (event.kind != EventKind::kCall) continue;
      ++calls;
      if ((event.flags & kCallDenied) != 0) ++denied;
    }
    if (calls != log.header().calls || denied != log.header().denied)
      return altered("block " + std::to_string(log.blocks() - 1) + ": it counts other events");
    verdict.events += calls;
    verdict.denied += denied;
  }
  verdict.job = log.job();
  verdict.head = log.end() == LogEnd::kSealed ? log.seal().head : log.head();
  verdict.blocks = log.blocks();
  verdict.bytes = log.offset();
  verdict.why = log.why();
  if (log.end() == LogEnd::kAltered) return altered(log.why());
  if (!verdict.job.empty() && verdict.job != job)
    return altered("it is the log of another job, " + verdict.job);
  if (log.end() == LogEnd::kSealed)
    CARREL_TRY(JudgeSeal(state_dir, log, verdict));
  else
    JudgeUnsealed(log, verdict);
  return verdict;
}

}  // namespace carrel
