#include "audit/ordered_work.h"

#include <algorithm>

namespace carrel {

OrderedWork::OrderedWork(unsigned threads) {
  if (threads == 0) threads = std::clamp(std::thread::hardware_concurrency(), 1u, 8u);
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

OrderedWork::~OrderedWork() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    waiting_.clear();
  }
  work_there_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void OrderedWork::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_there_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
    if (stopped_) return;
    std::shared_ptr<Item> item = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    Result<void> outcome = item->work();
    lock.lock();
    item->outcome = std::move(outcome);
    item->done = true;
    work_done_.notify_one();
  }
}

Result<void> OrderedWork::TakeOldest() {
  std::shared_ptr<Item> item = std::move(ordered_.front());
  ordered_.pop_front();
  {
    std::unique_lock lock(mutex_);
    work_done_.wait(lock, [&] { return item->done; });
  }
  CARREL_TRY(std::move(item->outcome));
  return item->finish();
}

Result<void> OrderedWork::Push(Step work, Step finish) {
  auto item = std::make_shared<Item>();
  item->work = std::move(work);
  item->finish = std::move(finish);
  ordered_.push_back(item);
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(item));
  }
  work_there_.notify_one();
  // Enough under way that no thread waits while the caller prints.
  while (ordered_.size() > 3 * threads_.size()) CARREL_TRY(TakeOldest());
  return {};
}

Result<void> OrderedWork::Drain() {
  while (!ordered_.empty()) CARREL_TRY(TakeOldest());
  return {};
}

}  // namespace carrel
