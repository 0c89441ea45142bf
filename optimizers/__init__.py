"""The named rules, the schedules, and `RuleOptimizer`, which makes any rule a torch optimizer."""
