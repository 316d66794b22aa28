"""Who may call the gateway: told apart by their credentials, held to their roles and quotas, written down."""
