// What each member of an action's expectations means.
#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>

#include "audit/verify.h"
#include "base/fs.h"
#include "cli/selftest.h"

namespace carrel {
namespace {

constexpr size_t kMaxFile = 256u << 20;

const char* WorkspaceOf(const TestRun& run) {
  return run.project == "internal" ? "selftest-internal"
         : run.project == "listed" ? "selftest-listed"
                                   : "selftest-unlisted";
}

class RunChecker {
 public:
  RunChecker(const TestStudy& study, const TestRun& run, const HostConfig& host,
             const std::map<std::string, int64_t>& truth)
      : study_(study),
        run_(run),
        truth_(truth),
        level3_(host.high_privacy + "/workspaces/" + WorkspaceOf(run)),
        level4_(host.medium_privacy + "/workspaces/" + WorkspaceOf(run)),
        state_(host.state) {}

  std::vector<Check> Look(const PipelineResult& result) {
    Expect("exit status", Json(result.exit_status()), Json(run_.exit_status));
    for (const auto& [name, expected] : run_.actions) {
      action_ = name;
      const auto found = std::find_if(result.actions.begin(), result.actions.end(),
                                      [this](const ActionRun& one) { return one.name == action_; });
      if (found == result.actions.end())
        Add("ran", false, "the project has no such action");
      else
        LookAt(*found, expected);
    }
    return std::move(checks_);
  }

 private:
  void Add(const std::string& what, bool good, std::string detail) {
    checks_.push_back({study_.name, run_.name, action_, what,
                       good ? Check::Outcome::kPassed : Check::Outcome::kFailed,
                       good ? "" : std::move(detail)});
  }
  void Expect(const std::string& what, const Json& is, const Json& should) {
    Add(what, is == should, "it is " + Text(is) + ", not " + Text(should));
  }
  static std::string Text(const Json& value) {
    std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    return text.size() > 400 ? text.substr(0, 400) + "..." : text;
  }

  void LookAt(const ActionRun& action, const Json& expected) {
    const Json results =
        action.result.is_object() ? action.result.value("results", Json::object()) : Json::object();
    for (const auto& [key, should] : expected.items()) {
      if (key == "state") {
        Add(key, StateName(action.state) == should,
            std::string("it is ") + StateName(action.state) + ", not " + Text(should) + ": " +
                action.message);
      } else if (key == "message") {
        Add(key, Holds(action.message, should), "it is: " + action.message);
      } else if (key == "outputs") {
        Expect(key, results.value("outputs", Json::object()), should);
      } else if (key == "output_count") {
        Expect(key, results.value("outputs", Json::object()).size(), should);
      } else if (key == "withheld") {
        LookAtWithheld(results, should);
      } else if (key == "rows") {
        for (const auto& [path, count] : should.items()) LookAtRows(path, count);
      } else if (key == "level4" || key == "lacks") {
        for (const auto& [path, text] : should.items()) LookAtFile(key, path, text);
      } else if (key == "no_files") {
        for (const Json& path : should) LookForNothing(path);
      } else if (key.starts_with("log")) {
        LookAtLog(key, results, should);
      } else {
        Expect(key, results.value(key, Json()), should);
      }
    }
    LookAtAudit(results);
  }

  static bool Holds(std::string_view text, const Json& part) {
    return part.is_string() && text.find(part.get<std::string>()) != std::string_view::npos;
  }

  // Withheld is what is named, and what is withheld is not at level 4.
  void LookAtWithheld(const Json& results, const Json& should) {
    Json names = Json::array();
    const Json withheld = results.value("level4_excluded_files", Json::object());
    for (const auto& [path, why] : withheld.items()) names.push_back(path);
    Expect("withheld", names, should);
    const Json outputs = results.value("outputs", Json::object());
    for (const auto& [path, level] : outputs.items()) {
      const bool released = level == "moderately_sensitive" && !withheld.contains(path);
      if (released == Open(level4_, path).has_value()) continue;
      Add("level 4", false, path + (released ? " is not at level 4" : " is at level 4"));
      return;
    }
    Add("level 4", true, "");
  }

  static Result<UniqueFd> Open(const std::string& root, const std::string& path) {
    CARREL_ASSIGN(const UniqueFd directory, OpenPath(root, O_RDONLY | O_DIRECTORY));
    return OpenBeneath(directory.get(), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  }
  static Result<std::string> Read(const std::string& root, const std::string& path) {
    CARREL_ASSIGN(const UniqueFd file, Open(root, path));
    return ReadFd(file.get(), kMaxFile);
  }

  // "patients - opted_out": names of the truth, or numbers.
  std::optional<int64_t> Value(const std::string& expression) const {
    std::istringstream in(expression);
    int64_t total = 0, sign = 1;
    for (std::string word; in >> word;) {
      if (word == "-" || word == "+") {
        sign = word == "-" ? -1 : 1;
        continue;
      }
      int64_t number = 0;
      auto named = truth_.find(word);
      if (named != truth_.end())
        number = named->second;
      else if (std::from_chars(word.data(), word.data() + word.size(), number).ec != std::errc())
        return std::nullopt;
      total += sign * number;
    }
    return total;
  }

  void LookAtRows(const std::string& path, const Json& expression) {
    const std::string what = "rows of " + path;
    const auto should =
        expression.is_string() ? Value(expression.get<std::string>()) : std::nullopt;
    if (!should) return Add(what, false, "the numbers of " + Text(expression) + " are not known");
    auto text = Read(level3_, path);
    if (!text) return Add(what, false, text.error().ToString());
    const auto lines = std::count(text->begin(), text->end(), '\n');
    Expect(what, lines - 1, *should);
  }

  void LookAtFile(const std::string& key, const std::string& path, const Json& should) {
    auto text = Read(level4_, path);
    const std::string what = (key == "lacks" ? "nothing unwanted in " : "content of ") + path;
    if (!text) return Add(what, false, "at level 4: " + text.error().ToString());
    if (key == "level4") return Expect(what, *text, should);
    for (const Json& part : should)
      if (Holds(*text, part)) return Add(what, false, "it holds " + Text(part));
    Add(what, true, "");
  }

  void LookForNothing(const Json& path) {
    const std::string name = path.get<std::string>();
    const bool at3 = Open(level3_, name).has_value(), at4 = Open(level4_, name).has_value();
    // Level 3 may keep what a failed action made; nothing of it is at level 4.
    const bool failed = run_.actions.at(action_).value("state", "") == "failed";
    Add("no " + name, !at4 && (failed || !at3), at4 ? "it is at level 4" : "it is at level 3");
  }

  void LookAtLog(const std::string& key, const Json& results, const Json& parts) {
    const std::string path = results.value("files", Json::object()).value("log", "");
    auto text = ReadFile(path, kMaxFile);
    if (!text) return Add(key, false, "the log: " + text.error().ToString());
    for (const Json& part : parts) {
      const std::string wanted = part.get<std::string>();
      size_t count = 0;
      // A line as it is, so that a marked copy in the action's own lines does not count.
      if (key == "log_once") {
        std::istringstream lines(*text);
        for (std::string line; std::getline(lines, line);) count += line == wanted;
      } else {
        count = text->find(wanted) == std::string::npos ? 0 : 1;
      }
      Add(key + " " + Text(part), count == (key == "log_lacks" ? 0u : 1u),
          "it is there " + std::to_string(count) + " times");
    }
  }

  void LookAtAudit(const Json& results) {
    const Json audit = results.value("audit", Json());
    if (!audit.is_object()) return;  // refused before there was one, or not started
    auto verdict = VerifyLog(state_, audit.value("log", ""), audit.value("id", ""));
    Add("audit log", verdict && verdict->finding == LogFinding::kWhole,
        verdict ? std::string("it is ") + FindingName(verdict->finding) + " " + verdict->why
                : verdict.error().ToString());
  }

  const TestStudy& study_;
  const TestRun& run_;
  const std::map<std::string, int64_t>& truth_;
  const std::string level3_, level4_, state_;
  std::string action_;
  std::vector<Check> checks_;
};

}  // namespace

std::vector<Check> CheckRun(const TestStudy& study, const TestRun& run,
                            const PipelineResult& result, const HostConfig& host,
                            const std::map<std::string, int64_t>& truth) {
  return RunChecker(study, run, host, truth).Look(result);
}

Result<std::map<std::string, int64_t>> ReadTruth(const TestStudy& study, const HostConfig& host) {
  CARREL_ASSIGN(const std::string text,
                ReadFile(host.high_privacy + "/workspaces/selftest-internal/" + study.truth));
  std::istringstream lines(text);
  std::string names, values;
  std::getline(lines, names);
  std::getline(lines, values);
  std::map<std::string, int64_t> truth;
  std::istringstream name_in(names), value_in(values);
  for (std::string name, value;
       std::getline(name_in, name, ',') && std::getline(value_in, value, ',');) {
    std::erase(name, '\r');
    truth[name] = std::strtoll(value.c_str(), nullptr, 10);
  }
  if (!truth.contains("patients") || !truth.contains("opted_out"))
    return Fault(study.truth, "it has not the columns patients and opted_out");
  return truth;
}

}  // namespace carrel
