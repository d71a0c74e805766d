// A place for the test studies on a deployed host: the host's own state, images, tools, limits and
// policy, plus fictitious projects, with results in a directory of their own.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "cli/selftest.h"
#include "image/image_store.h"

namespace carrel {

struct SelftestHostRequest {
  std::string config, state;  ///< as for `carrel run`
  /// "sqlite:///path", "postgresql://USER:PASSWORD@HOST[:PORT]/NAME[?sslmode=...]", or the name of
  /// a configured database; empty: the studies make one.
  std::string database;
};

class SelftestHost {
 public:
  /// Makes <state>/selftest/<time> with a copy of the policy to which the projects
  /// selftest-internal, selftest-listed (opted-out patients in) and selftest-unlisted, the user
  /// selftest and the tool selftest-query are added.
  static Result<std::unique_ptr<SelftestHost>> Make(const SelftestHostRequest& request);
  SelftestHost(const SelftestHost&) = delete;
  SelftestHost& operator=(const SelftestHost&) = delete;
  /// Takes the name of selftest-query away from its image, and a password file.
  ~SelftestHost();

  const std::string& name() const { return name_; }
  const std::string& directory() const { return directory_; }
  const std::string& state() const { return host_.state; }
  std::string policies() const { return directory_ + "/policies"; }

  bool has_database() const { return !database_.is_null(); }
  /// As the configuration calls it; "" without one.
  std::string database_kind() const { return has_database() ? database_.value("kind", "") : ""; }
  bool HasImage(const std::string& name) const;
  /// Takes the database that a study made for the studies after it.
  Result<void> TakeDatabase(const std::string& file);

  /// Commits a study's files to a repository of their own, and runs it in a copy of the host's
  /// configuration. `host` gets that configuration, `commit` the commit.
  Result<PipelineResult> Run(const TestStudy& study, const TestRun& run, HostConfig& host,
                             std::string& commit) const;

 private:
  SelftestHost() = default;
  Result<void> MakePolicies();
  Result<void> TagQueryTool();
  Result<void> ChooseDatabase(const std::string& database);
  Result<void> DatabaseFromUrl(const std::string& text);
  Result<std::string> MakeRepository(const TestStudy& study) const;
  Result<std::string> WriteConfig(const TestStudy& study, const TestRun& run) const;

  HostConfig host_;
  std::string name_, directory_;
  Json database_;  // its configuration, or null
  bool tagged_ = false;
  std::string password_file_;
};

}  // namespace carrel
