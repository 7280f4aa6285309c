from tessera_client.cli import entry

entry()
