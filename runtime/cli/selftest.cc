// carrel selftest: the test studies on this host, before and after a deployment.
#include "cli/selftest.h"

#include <fcntl.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>

#include "base/fs.h"
#include "cli/command.h"
#include "cli/host_options.h"
#include "cli/selftest_host.h"
#include "job/sandbox.h"
#include "policy/policy.h"

namespace carrel {
namespace {

struct SelftestOptions {
  std::string config, state, database, studies, junit;
  std::vector<std::string> names;
  bool json = false, list = false;
};

// <prefix>/bin/carrel has them in <prefix>/share/carrel/studies.
std::string InstalledStudies() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path().parent_path() / "share/carrel/studies").string();
}

std::string WhyNot(const TestStudy& study, const SelftestHost& host, bool truth_is_known) {
  for (const std::string& image : study.images)
    if (!host.HasImage(image)) return "the image " + image + " is not on this host";
  if (study.name == "database" && host.has_database()) return "a database was named";
  if (study.database && !host.has_database()) return "there is no database";
  if (study.database && !study.database_kinds.empty() &&
      !study.database_kinds.contains(host.database_kind()))
    return "its tool does not read a database of kind " + host.database_kind();
  if (study.database && study.truth.empty() && !truth_is_known)
    return "the database's own numbers are not known";
  return "";
}

class Selftest {
 public:
  Selftest(const SelftestOptions& options, SelftestHost& host) : options_(options), host_(host) {}

  Result<SelftestReport> Run(const std::vector<TestStudy>& studies) {
    report_.name = host_.name();
    report_.directory = host_.directory();
    report_.begun_s = ::time(nullptr);
    CARREL_ASSIGN(const Policy policy, LoadPolicy(host_.policies()));
    report_.policy_digest = policy.digest;
    for (const TestStudy& study : studies) {
      if (!Wanted(study)) continue;
      const std::string why = WhyNot(study, host_, !truth_.empty());
      if (!why.empty()) {
        report_.checks.push_back({study.name, "", "", "study", Check::Outcome::kSkipped, why});
        continue;
      }
      for (const TestRun& run : study.runs)
        if (!report_.cancelled) RunOne(study, run);
      if (report_.cancelled) break;
    }
    report_.ended_s = ::time(nullptr);
    return std::move(report_);
  }

 private:
  // What others need is run whichever were named.
  bool Wanted(const TestStudy& study) const {
    return options_.names.empty() || !study.truth.empty() || study.name == "database" ||
           std::find(options_.names.begin(), options_.names.end(), study.name) !=
               options_.names.end();
  }

  void RunOne(const TestStudy& study, const TestRun& run) {
    fprintf(stderr, "%s (%s)\n", study.name.c_str(), run.name.c_str());
    HostConfig host;
    TestRunResult done{study.name, run.name, "", 0, {}};
    auto result = host_.Run(study, run, host, done.commit);
    if (!result) {
      return Fail(study, run, "run", result.error().ToString());
    }
    if (result->cancelled && run.cancel.empty()) {
      report_.cancelled = true;
      return;
    }
    if (study.name == "database")
      if (auto taken = host_.TakeDatabase(host.high_privacy +
                                          "/workspaces/selftest-internal/output/patients.sqlite");
          !taken)
        Fail(study, run, "database", taken.error().ToString());
    if (!study.truth.empty()) {
      auto truth = ReadTruth(study, host);
      if (truth)
        truth_ = *truth;
      else
        Fail(study, run, "truth", truth.error().ToString());
    }
    for (Check& check : CheckRun(study, run, *result, host, truth_))
      report_.checks.push_back(std::move(check));
    done.exit_status = result->exit_status();
    done.actions = std::move(result->actions);
    report_.runs.push_back(std::move(done));
  }

  void Fail(const TestStudy& study, const TestRun& run, const char* what, std::string detail) {
    report_.checks.push_back(
        {study.name, run.name, "", what, Check::Outcome::kFailed, std::move(detail)});
  }

  const SelftestOptions& options_;
  SelftestHost& host_;
  SelftestReport report_;
  std::map<std::string, int64_t> truth_;
};

Result<void> WriteReport(const SelftestReport& report, const std::string& junit) {
  CARREL_ASSIGN(const UniqueFd directory, OpenPath(report.directory, O_RDONLY | O_DIRECTORY));
  const std::string text =
      SelftestJson(report).dump(1, ' ', true, OrderedJson::error_handler_t::replace) + "\n";
  CARREL_TRY(WriteFileAtomic(directory.get(), "report.json", text, 0640));
  if (junit.empty()) return {};
  CARREL_ASSIGN(const UniqueFd file, OpenPath(junit, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  return WriteAll(file.get(), SelftestJunit(report));
}

Result<int> RunStudies(const SelftestOptions& options) {
  const std::string place = options.studies.empty() ? InstalledStudies() : options.studies;
  CARREL_ASSIGN(const std::vector<TestStudy> studies, ReadStudies(place));
  for (const std::string& name : options.names)
    if (std::none_of(studies.begin(), studies.end(),
                     [&](const TestStudy& study) { return study.name == name; }))
      return BadInput(name, "there is no such study in " + place, "--list shows them");
  if (options.list) {
    for (const TestStudy& study : studies)
      printf("%-18s %s\n", study.name.c_str(), study.description.c_str());
    return 0;
  }
  CARREL_TRY(RequireRoot());
  CARREL_ASSIGN(const std::unique_ptr<SelftestHost> host,
                SelftestHost::Make({options.config, options.state, options.database}));
  CARREL_ASSIGN(const SelftestReport report, Selftest(options, *host).Run(studies));
  CARREL_TRY(WriteReport(report, options.junit));
  if (options.json)
    printf("%s\n",
           SelftestJson(report).dump(2, ' ', true, OrderedJson::error_handler_t::replace).c_str());
  else
    PrintSelftest(report);
  if (report.cancelled) return 130;
  return report.Count(Check::Outcome::kFailed) == 0 ? 0 : 1;
}

int Compare(int argc, char** argv) {
  CLI::App app("Says what behaves differently in two selftests.", "carrel selftest compare");
  std::string config, state, before, after;
  bool json = false;
  app.add_option("before", before, "name below <state>/selftest, or a report's file or directory")
      ->required();
  app.add_option("after", after, "the same, of the later one")->required();
  AddHostOptions(app, config, state);
  app.add_flag("--json", json, "one JSON object");
  int status = 0;
  if (!ParseWithState(app, argc, argv, config, state, &status)) return status;
  return CompareSelftests(state, before, after, json);
}

}  // namespace

int SelftestCommand(int argc, char** argv) {
  if (argc >= 2 && std::string_view(argv[1]) == "compare") return Compare(argc - 1, argv + 1);
  CLI::App app("Runs the test studies on this host. `carrel selftest compare` compares two runs.",
               "carrel selftest");
  SelftestOptions options;
  app.add_option("studies", options.names, "studies (default: all)");
  AddHostOptions(app, options.config, options.state);
  app.add_option("--database", options.database,
                 "sqlite:///PATH, postgresql://..., or a configured name (default: one is made)");
  app.add_option("--studies", options.studies,
                 "directory of studies (default: the installed ones)");
  app.add_option("--junit", options.junit, "also write a JUnit XML file");
  app.add_flag("--json", options.json, "one JSON object instead of the table");
  app.add_flag("--list", options.list, "name the studies; run none");
  int status = 0;
  if (!ParseOptions(app, argc, argv, &status)) return status;
  auto done = RunStudies(options);
  return done ? *done : PrintError(done.error());
}

}  // namespace carrel
