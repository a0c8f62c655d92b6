"""What physicists count: rates, working points, menus, prescales, variables, baselines."""
