// carrel called as `docker`, as the job agent calls it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "support/study.h"

namespace carrel::testing_support {

/// A Study whose carrel is called as docker.
class DockerFront : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(volumes());
    study_.config()["docker"] = {{"bind_prefixes", {volumes()}}};
    study_.WriteConfig();
    std::filesystem::create_symlink(CARREL_BINARY, docker());
  }
  void TearDown() override {
    for (const std::string& name : names_) Docker({"container", "rm", "--force", name});
  }

  std::string volumes() const { return study_.path() + "/volumes"; }
  std::string docker() const { return study_.path() + "/docker"; }

  SubprocessResult Docker(std::vector<std::string> arguments,
                          std::map<std::string, std::string> environment = {},
                          const std::string& input = "") {
    arguments.insert(arguments.begin(), docker());
    SubprocessOptions options;
    options.environment = std::move(environment);
    options.environment["CARREL_CONFIG"] = study_.config_path();
    options.input = input;
    auto result = RunSubprocess(arguments, options);
    EXPECT_TRUE(result.has_value()) << result.error().ToString();
    return result.value_or(SubprocessResult{-1, "", ""});
  }

  // The agent's own `docker run`, for an action that is a line of shell.
  SubprocessResult RunJob(const std::string& name, const std::string& script,
                          std::map<std::string, std::string> environment = {},
                          const std::vector<std::string>& more = {"--network", "none"},
                          const std::string& image = "python:v2") {
    names_.push_back(name);
    std::filesystem::create_directories(volumes() + "/" + name);
    EXPECT_EQ(::chown((volumes() + "/" + name).c_str(), 4321, 4322), 0);
    std::vector<std::string> arguments = {
        "run",        "--init",
        "--detach",   "--label",
        "job-runner", "--name",
        name,         "--pull=never",
        "--cpus",     "1",
        "--memory",   "64M",
        "--user",     "4321:4322",
        "-e",         "HOME=/tmp",
        "--mount",    "type=bind,source=" + volumes() + "/" + name + ",target=/workspace",
        "--label",    "action=act"};
    for (const auto& [key, value] : environment) {
      arguments.emplace_back("--env");
      arguments.push_back(key);
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    for (const std::string& word : {image, std::string("sh"), std::string("-c")})
      arguments.push_back(word);
    arguments.push_back(script);
    return Docker(arguments, std::move(environment));
  }

  Json Inspect(const std::string& name, const std::string& key) {
    const auto result = Docker({"container", "inspect", "--format", "{{json ." + key + "}}", name});
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return Json::parse(result.output, nullptr, false);
  }
  bool Ended(const std::string& name) {
    return WaitFor([&] { return Inspect(name, "State.Running") == false; });
  }

  Study study_;
  std::vector<std::string> names_;
};

}  // namespace carrel::testing_support
