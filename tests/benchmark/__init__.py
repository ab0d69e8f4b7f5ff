"""What the checks cost, measured side by side in one run. See __main__.py; the guard that CI runs is test_imports.py."""
