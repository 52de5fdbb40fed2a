"""``python -m aimc_deploy``."""

from aimc_deploy.cli.app import main

if __name__ == "__main__":
    main()
