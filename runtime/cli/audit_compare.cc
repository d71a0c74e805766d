// carrel audit profile, diff.
#include <fcntl.h>
#include <fmt/format.h>

#include <cstdio>

#include "audit/behaviour.h"
#include "audit/query.h"
#include "audit/seccomp_profile.h"
#include "audit/text.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"
#include "cli/audit_commands.h"
#include "launch/seccomp.h"

namespace carrel {
namespace {

// A profile or a comparison from half a log would mislead.
Result<void> RequireSealed(const LogReader& log) {
  if (log.end() == LogEnd::kSealed) return {};
  std::string what = std::string("its log is not sealed: ") + StandingName(log.Standing());
  if (!log.why().empty()) what += ", " + log.why();
  return Fault(log.job(), what);
}

Result<Behaviour> ReadBehaviour(const AuditOptions& options, const std::string& job) {
  CARREL_ASSIGN(LogReader log, LogReader::Open(AuditLogPath(options.state, job)));
  CARREL_ASSIGN(Behaviour behaviour, BehaviourOf(log));
  CARREL_TRY(RequireSealed(log));
  return behaviour;
}

// The digest of the profile that the job ran under, from its record "start".
Result<std::string> ProfileDigest(const AuditOptions& options, const std::string& job) {
  CARREL_ASSIGN(LogReader log, LogReader::Open(AuditLogPath(options.state, job)));
  EventFilter records;
  records.kinds = KindBit(EventKind::kRecord);
  std::string digest;
  CARREL_TRY(ForEachEvent(log, records, [&](const AuditEvent& event) {
    auto record = ParseJson(event.record, job);
    if (record && record->is_object() && record->value("kind", Json()) == "start")
      digest = record->value("seccomp_digest", std::string());
  }));
  return digest;
}

// The profile that `job` had: a built-in one with the digest of its record.
Result<std::vector<std::string>> PresentProfile(const AuditOptions& options, std::string* name) {
  if (!options.against.empty()) {
    *name = options.against;
    CARREL_ASSIGN(std::string text, ReadFile(options.against));
    return std::vector<std::string>{std::move(text)};
  }
  CARREL_ASSIGN(const std::string digest, ProfileDigest(options, options.jobs[0]));
  for (const char* builtin : {"base", "gateway", "loopback"}) {
    auto documents = BuiltinProfile(builtin);
    if (!documents) continue;
    std::string all;
    for (const std::string& document : *documents) all += document;
    if (Sha256Hex(all) != digest) continue;
    *name = builtin;
    return documents;
  }
  return BadInput(options.jobs[0],
                  "it ran under the profile " + digest + ", which this version does not have",
                  "Name the profile to compare with: --against FILE");
}

std::string Joined(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : ", ") + word;
  return line;
}

// On stderr: stdout may be the profile.
void SayExcess(const ProfileUse& use, const std::string& name) {
  auto say = [](const std::string& what, const std::vector<std::string>& words) {
    if (!words.empty())
      fprintf(stderr, "%s (%zu): %s\n", what.c_str(), words.size(), Joined(words).c_str());
  };
  fprintf(stderr, "%s allows %zu syscalls; these jobs used %zu of them\n", Printable(name).c_str(),
          use.allowed(), use.used());
  say("in excess", use.Excess());
  say("conditions that no call met", use.UnusedConditions());
  say("used, but not allowed there", use.Missing());
}

Result<int> Profile(const AuditOptions& options) {
  std::string name;
  CARREL_ASSIGN(const std::vector<std::string> documents, PresentProfile(options, &name));
  CARREL_ASSIGN(ProfileUse use, ProfileUse::Of(documents));
  EventFilter calls;
  calls.kinds = KindBit(EventKind::kCall);
  for (const std::string& job : options.jobs) {
    CARREL_ASSIGN(LogReader log, LogReader::Open(AuditLogPath(options.state, job)));
    CARREL_TRY(ForEachEvent(log, calls, [&](const AuditEvent& event) { use.Add(event); }));
    CARREL_TRY(RequireSealed(log));
  }
  if (options.json) {
    PrintJson({{"profile", name},
               {"allowed", use.allowed()},
               {"used", use.used()},
               {"excess", use.Excess()},
               {"unused_conditions", use.UnusedConditions()},
               {"missing", use.Missing()}});
    return 0;
  }
  const std::string text = use.Smallest().dump(2) + "\n";
  if (options.output.empty()) {
    fputs(text.c_str(), stdout);
  } else {
    CARREL_ASSIGN(const UniqueFd file, OpenOutput(options.output, 0644));
    CARREL_TRY(WriteAll(file.get(), text));
  }
  SayExcess(use, name);
  return 0;
}

void PrintDifference(const Difference& difference, bool json) {
  if (json) {
    PrintJson({{"kind", difference.kind},
               {"name", Utf8(difference.name)},
               {"before", difference.before},
               {"after", difference.after}});
    return;
  }
  const char* sign = difference.before == 0 ? "+" : difference.after == 0 ? "-" : " ";
  puts(Fit(fmt::format("{} {:<8} {:>9} {:>9}  {}", sign, difference.kind, difference.before,
                       difference.after, Printable(difference.name)),
           RowColumns())
           .c_str());
}

// A new or vanished thing counts, and a number that has more than doubled or halved; the rest is
// how schedulers and caches are.
bool Matters(const Difference& difference) {
  const uint64_t small = std::min(difference.before, difference.after);
  const uint64_t large = std::max(difference.before, difference.after);
  return difference.only_one() || (large >= 2 * small && large - small >= 10);
}

// Many files of one directory that one run alone has read are one line: "/usr/lib/python3/...".
class Groups {
 public:
  static bool Takes(const Difference& difference) {
    return difference.only_one() && (difference.kind == "read" || difference.kind == "missing");
  }
  void Add(const Difference& difference) { groups_[KeyOf(difference)].push_back(difference); }
  void Print() const {
    for (const auto& [key, all] : groups_) {
      if (all.size() <= kFew) {
        for (const Difference& one : all) PrintDifference(one, false);
        continue;
      }
      Difference sum{key.first, key.second + "... (" + std::to_string(all.size()) + " names)"};
      for (const Difference& one : all) {
        sum.before += one.before;
        sum.after += one.after;
      }
      PrintDifference(sum, false);
    }
  }

 private:
  static constexpr size_t kFew = 5;

  // Kind, and the path to its third directory with the side that has it.
  static std::pair<std::string, std::string> KeyOf(const Difference& difference) {
    size_t end = difference.name.find('/');
    for (int depth = 0; depth < 3 && end != std::string::npos; ++depth)
      end = difference.name.find('/', end + 1);
    std::string directory = difference.name.substr(0, end == std::string::npos ? end : end + 1);
    if (end == std::string::npos) directory = directory.substr(0, directory.rfind('/') + 1);
    return {difference.kind, directory};
  }
  std::map<std::pair<std::string, std::string>, std::vector<Difference>> groups_;
};

Result<int> Diff(const AuditOptions& options) {
  CARREL_ASSIGN(const Behaviour before, ReadBehaviour(options, options.jobs[0]));
  CARREL_ASSIGN(const Behaviour after, ReadBehaviour(options, options.jobs[1]));
  size_t shown = 0, hidden = 0;
  if (!options.json) puts("  kind        before     after  what");
  Groups gone, fresh;
  for (const Difference& difference : Compare(before, after)) {
    if (!options.all && !Matters(difference)) {
      ++hidden;
      continue;
    }
    ++shown;
    if (!options.all && !options.json && Groups::Takes(difference))
      (difference.after == 0 ? gone : fresh).Add(difference);
    else
      PrintDifference(difference, options.json);
  }
  fresh.Print();
  gone.Print();
  if (shown == 0 && !options.json) puts("  nothing");
  if (hidden > 0)
    fprintf(stderr, "%zu counts differ by less than twice: --all shows them\n", hidden);
  return shown == 0 ? 0 : 1;
}

}  // namespace

int AuditProfile(const AuditOptions& options) {
  auto status = Profile(options);
  return status ? *status : PrintError(status.error());
}

int AuditDiff(const AuditOptions& options) {
  auto status = Diff(options);
  return status ? *status : PrintError(status.error());
}

}  // namespace carrel
